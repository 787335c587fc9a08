//! Who trigger and victims are.

use super::Facts;
use crate::model::{
    account::{InvocationAccount, Stage},
    events::{self, Name, Task},
    report::{Missing, Parent, Who, hex, lossy},
    task_context::TaskContext,
};

/// Who a process is, by what the probes read in its own context; what they did not, by what
/// userspace found in /proc.
pub(super) fn who(facts: Facts<'_>, task: &Task) -> Who {
    let mut who = Who {
        user: facts.findings.users.get(&task.uid).cloned(),
        start_time: task.start_boottime_ns.and_then(|started| facts.time(started)),
        age_ns: task.start_boottime_ns.and_then(|started| begin(facts).checked_sub(started)),
        ..Who::default()
    };
    if let Some(found) = facts.findings.processes.get(&(facts.account.seq, task.tgid)) {
        who.cmdline.clone_from(&found.cmdline);
        who.exe.clone_from(&found.exe);
    }
    if let Some(context) = facts.account.contexts.get(&task.tgid) {
        fill(&mut who, context);
    }
    who
}

fn begin(facts: Facts<'_>) -> u64 {
    let invocation = facts.account.invocation.as_ref();
    invocation.map_or(facts.account.first_ns, |invocation| invocation.started_ns)
}

fn fill(who: &mut Who, context: &TaskContext) {
    if let Some((arguments, truncated)) = &context.cmdline {
        let texts: Vec<(String, Option<String>)> =
            arguments.iter().map(|it| lossy(&it.0)).collect();
        let is_whole = texts.iter().all(|(_, hex)| hex.is_none());
        who.cmdline_hex =
            (!is_whole).then(|| arguments.iter().map(|argument| hex(&argument.0)).collect());
        who.cmdline = Some(texts.into_iter().map(|(text, _)| text).collect());
        who.cmdline_truncated = *truncated;
    }
    if let Some((names, truncated)) = &context.exe {
        let (path, path_hex) = lossy(&joined(names));
        who.exe = Some(path);
        who.exe_hex = path_hex;
        who.exe_truncated = *truncated;
    }
    let parent = |parent: &events::Parent| {
        let (comm, comm_hex) = lossy(&parent.comm.0);
        Parent { pid: parent.tgid, comm, comm_hex }
    };
    who.parents = context.parents.as_ref().map(|parents| parents.iter().map(parent).collect());
}

/// Each name behind a "/".
fn joined(names: &[Name]) -> Vec<u8> {
    names.iter().flat_map(|name| [b"/".as_slice(), &name.0]).flatten().copied().collect()
}

/// What the probes would have told of the tasks of a closed report, and did not: each field once.
pub(super) fn missing(facts: Facts<'_>) -> Vec<Missing> {
    let InvocationAccount { invocation, victims, stage, .. } = facts.account;
    let made = invocation.as_ref().filter(|invocation| invocation.choice_made);
    let Some(invocation) = made.filter(|_| *stage != Stage::Provisional) else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    if facts.host.hooks.contains_key("signal_deliver") {
        let victims = victims.iter().map(|(_, victim)| victim.task.tgid);
        for pid in victims {
            let context = facts.account.contexts.get(&pid);
            note(&mut missing, "victims", pid, context, facts.host);
        }
        // A kernel thread has none.
        if let Some(context) = facts.account.contexts.get(&invocation.trigger.tgid) {
            note(&mut missing, "trigger", invocation.trigger.tgid, Some(context), facts.host);
        }
    }
    missing
}

fn note(
    missing: &mut Vec<Missing>,
    whose: &str,
    pid: i32,
    context: Option<&TaskContext>,
    host: &crate::model::host::Host,
) {
    let parts = [
        ("cmdline", context.is_some_and(|context| context.cmdline.is_some())),
        ("exe", context.is_some_and(|context| context.exe.is_some())),
    ];
    for (part, is_there) in parts {
        let field = format!("{whose}.{part}");
        let is_told = host.missing.iter().chain(&*missing).any(|it| it.field == field);
        if is_there || is_told {
            continue;
        }
        let is_unread = context.is_some_and(|context| context.unread.contains(&part));
        let why = if is_unread {
            format!("of {pid}: it was not in memory any more when it should be read")
        } else {
            format!("of {pid}: it had not met its SIGKILL when the report was closed")
        };
        missing.push(Missing { field, why });
    }
}
