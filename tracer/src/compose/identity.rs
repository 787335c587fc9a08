//! The identity of the trigger and of the victims: user, command line, executable, parents.

use oomwhy_common::valid::shed;

use super::{ComposeContext, missing::missing};
use crate::model::{
    account::{InvocationAccount, Stage},
    events::{self, Task},
    host::Host,
    names::joined_path,
    report::{Missing, Parent, Who, hex, lossy},
    task_context::TaskContext,
};

/// The identity of a process: as the probes read it in the context of its own task, else as
/// userspace found it in /proc.
pub(super) fn identity(context: ComposeContext<'_>, task: &Task) -> Who {
    let started = task.start_boottime_ns;
    let mut who = Who {
        user: context.findings.users.get(&task.uid).cloned(),
        start_time: started.and_then(|started| context.time(started)),
        age_ns: started.and_then(|started| context.started_ns().checked_sub(started)),
        ..Who::default()
    };
    if let Some(found) = context.findings.processes.get(&(context.account.seq, task.tgid)) {
        who.cmdline.clone_from(&found.cmdline);
        who.exe.clone_from(&found.exe);
    }
    if let Some(read) = context.account.contexts.get(&task.tgid) {
        fill(&mut who, read);
    }
    who
}

fn fill(who: &mut Who, read: &TaskContext) {
    if let Some((arguments, truncated)) = &read.cmdline {
        let texts: Vec<(String, Option<String>)> =
            arguments.iter().map(|it| lossy(&it.0)).collect();
        let is_text = texts.iter().all(|(_, hex)| hex.is_none());
        who.cmdline_hex =
            (!is_text).then(|| arguments.iter().map(|argument| hex(&argument.0)).collect());
        who.cmdline = Some(texts.into_iter().map(|(text, _)| text).collect());
        who.cmdline_truncated = *truncated;
    }
    if let Some((names, truncated)) = &read.exe {
        let (path, path_hex) = lossy(&joined_path(names));
        who.exe = Some(path);
        who.exe_hex = path_hex;
        who.exe_truncated = *truncated;
    }
    let parent = |parent: &events::Parent| {
        let (comm, comm_hex) = lossy(&parent.comm.0);
        Parent { pid: parent.tgid, comm, comm_hex }
    };
    who.parents = read.parents.as_ref().map(|parents| parents.iter().map(parent).collect());
}

/// The fields of a closed report that the probes read of other tasks and did not read of these.
/// Each field is named once.
pub(super) fn unread(context: ComposeContext<'_>) -> Vec<Missing> {
    let InvocationAccount { invocation, victims, contexts, stage, .. } = context.account;
    let made_choice = invocation.as_ref().filter(|invocation| invocation.choice_made);
    let Some(invocation) = made_choice.filter(|_| *stage != Stage::Provisional) else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    if context.host.reads_victim_context() {
        for (_, victim) in victims {
            let pid = victim.task.tgid;
            if contexts.contains_key(&pid) || !context.account.shed.has(shed::CONTEXT) {
                let read = contexts.get(&pid);
                let was_skipped = context.account.has_exited(pid);
                note(&mut missing, ("victims", pid, was_skipped), read, context.host);
            }
        }
        // A kernel thread has no context of its own.
        let trigger = invocation.trigger.tgid;
        if let Some(read) = contexts.get(&trigger) {
            let was_skipped = context.account.has_exited(trigger);
            note(&mut missing, ("trigger", trigger, was_skipped), Some(read), context.host);
        }
    }
    missing
}

/// Notes the parts that were not read of a process: its place in the report, its id, and whether
/// the kernel must have skipped the probe, because the process has exited.
fn note(
    noted: &mut Vec<Missing>,
    (key, pid, was_skipped): (&str, i32, bool),
    context: Option<&TaskContext>,
    host: &Host,
) {
    let parts = [
        ("cmdline", context.is_some_and(|context| context.cmdline.is_some())),
        ("exe", context.is_some_and(|context| context.exe.is_some())),
    ];
    for (part, _) in parts.into_iter().filter(|(_, is_known)| !is_known) {
        let field = format!("{key}.{part}");
        if host.missing.iter().chain(&*noted).any(|it| it.field == field) {
            continue;
        }
        let is_unread = context.is_some_and(|context| context.unread.contains(&part));
        let why = if is_unread {
            format!("of {pid}: it was not in memory any more when it should be read")
        } else if was_skipped {
            format!(
                "of {pid}: the kernel skips a probe that is interrupted by itself: another \
                 process' exit on the same CPU"
            )
        } else {
            format!("of {pid}: it had not received its SIGKILL when the report was closed")
        };
        noted.push(missing(field, why));
    }
}
