//! Keys that are absent from a report because the probes shed them: the ring was short of room.

use oomwhy_common::valid::shed;

use crate::model::{
    account::InvocationAccount,
    report::{OomReport, Victim},
};

/// The keys that the report does not have for that reason. Victims beyond those that are described
/// in detail are in [`OomReport::truncated`]: the ring may have had room.
pub(super) fn shed(report: &OomReport, account: &InvocationAccount) -> Vec<String> {
    let trigger = report.trigger.as_ref();
    let any_victim = |lacks: fn(&Victim) -> bool| report.victims.iter().any(lacks);
    let oom_memcg = report.oom_memcg.as_ref();
    let has_path = |path: Option<&String>| path.is_some();
    let parts = [
        (shed::CANDIDATES, "candidates", report.candidates.is_none()),
        (shed::STACKS, "trigger.kernel_stack", trigger.is_some_and(|it| it.kernel_stack.is_none())),
        (shed::STACKS, "trigger.user_stack", trigger.is_some_and(|it| it.user_stack.is_none())),
        (shed::CONTEXT, "trigger.cmdline", trigger.is_some_and(|it| it.who.cmdline.is_none())),
        (shed::STAT, "oom_memcg.stat", oom_memcg.is_some_and(|it| it.stat.is_none())),
        (
            shed::PATHS,
            "oom_memcg.path",
            oom_memcg.is_some_and(|it| !has_path(it.cgroup.path.as_ref())),
        ),
        (
            shed::PATHS,
            "victims[].cgroup.path",
            any_victim(|it| it.cgroup.as_ref().is_some_and(|cgroup| cgroup.path.is_none())),
        ),
        (shed::LEVELS, "limit_chain", report.limit_chain.is_none()),
        (shed::CONTEXT, "victims[].cmdline", any_victim(|it| it.who.cmdline.is_none())),
        (shed::CONTEXT, "victims[].exe", any_victim(|it| it.who.exe.is_none())),
        (shed::CONTEXT, "victims[].parents", any_victim(|it| it.who.parents.is_none())),
        (shed::CONTEXT, "victims[].user_stack", any_victim(|it| it.user_stack.is_none())),
    ];
    let absent =
        parts.into_iter().filter(|(bit, _, is_absent)| account.shed.has(*bit) && *is_absent);
    absent.map(|(_, key, _)| key.to_owned()).collect()
}
