//! Composes the report of an account. Pure; kernel units become bytes here.
//!
//! `badness`, `ranking`, `limits`, `memory_kinds` and `missing` serve the kernel log as a source,
//! too (`kmsg/`).

pub(crate) mod badness;
mod candidates;
mod cgroups;
pub(crate) mod fingerprint;
mod growth;
mod identity;
pub(crate) mod limits;
mod marks;
pub(crate) mod memory_kinds;
pub(crate) mod missing;
pub(crate) mod names;
mod outcome;
pub(crate) mod ranking;
mod shed;
pub(crate) mod size_limit;
mod stacks;
pub(crate) mod verdict;
mod victims;
mod withheld;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{
    account::{Account, InvocationAccount, ReclaimedAccount, WaitAccount},
    events::{Invocation, Memcg, Task},
    facts::Findings,
    gfp,
    host::Host,
    memcg_stat, record_id,
    report::{Constraint, GfpMask, OomReport, Source, System, Trigger, lossy},
};

/// The input of every part of the report.
#[derive(Clone, Copy)]
struct ComposeContext<'a> {
    account: &'a InvocationAccount,
    host: &'a Host,
    findings: &'a Findings,
}

impl ComposeContext<'_> {
    fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.host.page_size)
    }

    fn time(&self, boottime_ns: u64) -> Option<Timestamp> {
        let offset = self.findings.realtime_offset_ns.unwrap_or(self.host.realtime_offset_ns);
        Timestamp::from_nanosecond(i128::from(boottime_ns) + i128::from(offset)).ok()
    }

    /// The entry into `out_of_memory`, or the first record of the account. `CLOCK_BOOTTIME`, ns.
    fn started_ns(&self) -> u64 {
        self.account.invocation.as_ref().map_or(self.account.first_ns, |it| it.started_ns)
    }
}

pub(crate) fn compose(account: &Account, host: &Host, findings: &Findings) -> OomReport {
    // A wait and a reclaim have no part that belongs to an invocation.
    let nothing = InvocationAccount::new(account.seq(), account.first_ns());
    let invocation = account.invocation().unwrap_or(&nothing);
    let context = ComposeContext { account: invocation, host, findings };
    let outcome = outcome::outcome(account, host);
    let started = account.started_ns();
    let tid = account.trigger().map_or(0, |task| task.tid);
    let id = record_id::report(host.boot_id.as_deref(), started, tid);
    let mut report = OomReport::new(id, outcome, source(context));
    report.revision = Some(account.revision());
    report.time = context.time(started);
    report.boottime_ns = Some(started);
    report.boot_id.clone_from(&host.boot_id);
    report.host.clone_from(&host.hostname);
    report.kernel.clone_from(&host.kernel);
    report.page_size = Some(host.page_size);
    count_invocations(&mut report, context);
    match account {
        Account::Invocation(_) | Account::Mark(_) => {
            if let Some(record) = &invocation.invocation {
                describe(&mut report, context, record);
            } else if let Some(id) = invocation.compact_memcg {
                let memcg = Memcg { id: Some(id), memory: None, swap: None, oom_group: None };
                report.oom_memcg = Some(cgroups::oom_memcg(context, &memcg));
                report.constraint = Some(Constraint::Memcg);
            }
        }
        Account::Reclaimed(ReclaimedAccount { reclaimed, .. }) => {
            report.repeats = (reclaimed.count > 1).then_some(reclaimed.count);
            let trigger = trigger(context, &reclaimed.trigger);
            report.trigger =
                Some(request(context, trigger, Some(reclaimed.gfp_mask), Some(reclaimed.order)));
            report.oom_memcg = Some(cgroups::oom_memcg(context, &reclaimed.oom_memcg));
            report.constraint = Some(Constraint::Memcg);
        }
        Account::Wait(WaitAccount { first_ns, wait, ended_ns }) => {
            let trigger = trigger(context, &wait.trigger);
            report.trigger = Some(request(context, trigger, wait.gfp_mask, wait.order));
            report.oom_memcg = Some(cgroups::oom_memcg(context, &wait.oom_memcg));
            report.constraint = Some(Constraint::Memcg);
            report.waited_ns = ended_ns.map(|ended| ended.saturating_sub(*first_ns));
        }
    }
    report.system = system(context, started);
    report.candidates = candidates::candidates(context);
    report.victims = victims::victims(context, report.candidates.as_ref());
    report.victims_total = victims::total(invocation, &report.victims);
    report.truncated = victims::truncated(invocation, &report.victims);
    report.source.missing.extend(identity::unread(context));
    report.growth = growth::growth(context, &names(&report));
    report.truncated.extend(growth::truncated(context, report.growth.as_ref()));
    report.source.missing.extend(growth::unrecorded(context));
    match account {
        Account::Invocation(account) => missing::add_missing(&mut report, account, findings),
        Account::Mark(account) => marks::add_missing(&mut report, account),
        Account::Reclaimed(_) | Account::Wait(_) => {}
    }
    withheld::add_missing(&mut report, account.seq(), findings);
    report.source.shed = shed::shed(&report, invocation);
    report
}

/// Fills in how many invocations the report stands for.
fn count_invocations(report: &mut OomReport, context: ComposeContext<'_>) {
    let repeats = context.account.repeats.as_ref();
    report.repeats = repeats.map(|repeats| repeats.count);
    report.repeats_until = repeats.and_then(|repeats| context.time(repeats.last_ns));
    let waits: u64 = context.account.waits_for_victim.values().sum();
    report.invocations_while_dying = Some(waits).filter(|&waits| waits > 0);
}

/// The host's memory, with its age since the entry into `out_of_memory`.
fn system(context: ComposeContext<'_>, started_ns: u64) -> Option<System> {
    let (at_ns, memory) = context.account.system.as_ref()?;
    let age_ns = at_ns.checked_sub(started_ns);
    Some(System { time: context.time(*at_ns), age_ns, ..memory.clone() })
}

/// Names of processes by pid; a victim's own name replaces that of its candidate.
fn names(report: &OomReport) -> BTreeMap<i32, String> {
    let victims = report.victims.iter().map(|victim| (victim.pid, &victim.comm));
    let rows = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let named = rows.map(|row| (row.pid, &row.comm)).chain(victims);
    named.filter_map(|(pid, comm)| Some((pid, comm.clone()?))).collect()
}

/// Fills in the fields that come from the invocation record.
fn describe(report: &mut OomReport, context: ComposeContext<'_>, invocation: &Invocation) {
    let control = invocation.control.as_ref();
    report.reason = outcome::reason(context.account, invocation);
    report.constraint = control.and_then(|it| it.constraint).and_then(outcome::constraint);
    report.nodemask = invocation.nodemask.filter(|&nodes| nodes != 0).map(nodes);
    report.mems_allowed = invocation.mems_allowed.map(nodes);
    report.message = invocation.message.as_ref().map(|words| lossy(&words.0).0);
    report.totalpages =
        control.map(|control| control.totalpages).filter(|&totalpages| totalpages != 0);
    let mut trigger = request(
        context,
        trigger(context, &invocation.trigger),
        control.map(|control| control.gfp_mask),
        control.map(|control| control.order),
    );
    trigger.kernel_stack = invocation
        .kernel_stack
        .as_ref()
        .map(|frames| stacks::kernel_frames(context.findings, frames));
    let pid = invocation.trigger.tgid;
    trigger.user_stack =
        invocation.user_stack.as_deref().map(|frames| stacks::user_frames(context, pid, frames));
    report.trigger = Some(trigger);
    report.oom_memcg =
        invocation.oom_memcg.as_ref().map(|memcg| cgroups::oom_memcg(context, memcg));
    if let (Some(memcg), Some(stat)) = (&mut report.oom_memcg, &context.account.stat) {
        let page_size = context.host.page_size;
        memcg.stat = Some(memcg_stat::items(stat, &context.host.memcg_stat, page_size));
        memcg.stat_is_stale = !stat.fresh;
    }
    if let Some(levels) = &context.account.levels {
        report.limit_chain = Some(cgroups::limit_chain(context, levels, invocation));
        report.limit_chain_truncated = levels.truncated;
        cgroups::fill_kmem(report);
    }
}

/// Memory nodes as the kernel prints them: "0-1,3".
fn nodes(mask: u64) -> String {
    let mut ranges = Vec::new();
    let mut node = 0_u32;
    while let Some(rest) = mask.checked_shr(node).filter(|&rest| rest != 0) {
        let first = node + rest.trailing_zeros();
        let last = first + (mask >> first).trailing_ones() - 1;
        ranges.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
        node = last + 1;
    }
    ranges.join(",")
}

fn trigger(context: ComposeContext<'_>, task: &Task) -> Trigger {
    let (comm, comm_hex) = lossy(&task.comm.0);
    let cgroup = task.cgroup_id.map(|id| cgroups::cgroup(context, id));
    Trigger {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        comm: Some(comm),
        comm_hex,
        uid: Some(task.uid),
        oom_score_adj: task.oom_score_adj,
        owner: cgroup.as_ref().map(|cgroup| cgroups::owner(context, cgroup)).unwrap_or_default(),
        cgroup,
        who: identity::identity(context, task),
        ..Trigger::default()
    }
}

/// Adds the allocation that the trigger asked for.
fn request(
    context: ComposeContext<'_>,
    trigger: Trigger,
    gfp_mask: Option<u32>,
    order: Option<i32>,
) -> Trigger {
    let names = |value| gfp::names(value, &context.host.gfp_flags);
    let named = gfp_mask.map(|value| GfpMask { value, names: names(value) });
    Trigger { gfp_mask: named, order, ..trigger }
}

fn source(context: ComposeContext<'_>) -> Source {
    Source {
        hooks: context.host.hooks.clone(),
        missing: context.host.missing.clone(),
        drops: Some(context.findings.drops),
        ..Source::new(context.host.tier)
    }
}

#[cfg(test)]
mod tests;
