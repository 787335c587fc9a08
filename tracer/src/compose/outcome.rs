//! The outcome of an invocation, and the reason for its choice.

use crate::model::{
    account::{Account, InvocationAccount, silent_outcome},
    events::{Chosen, End, Invocation},
    hook::Hook,
    host::Host,
    report::{Constraint, Outcome, Reason},
};

/// `enum oom_constraint`, the same in every kernel since 2.6.38.
pub(super) fn constraint(value: u32) -> Option<Constraint> {
    match value {
        0 => Some(Constraint::None),
        1 => Some(Constraint::Cpuset),
        2 => Some(Constraint::MemoryPolicy),
        3 => Some(Constraint::Memcg),
        _ => None,
    }
}

pub(super) fn outcome(account: &Account, host: &Host) -> Outcome {
    let account = match account {
        Account::Invocation(account) => account,
        Account::Reclaimed(_) => return Outcome::Reclaimed,
        Account::Wait(_) => return Outcome::Disabled,
        // The plan has noted in source.missing which other outcomes cannot be seen.
        Account::Mark(_) => return Outcome::Killed,
    };
    match &account.end {
        Some(end) => ended(account, end, host.has_hook(Hook::MarkVictim)),
        // The end was lost. A marked victim was probably killed; one that was marked although no
        // process was chosen was dying anyway.
        None if account.victims.is_empty() => Outcome::Unknown,
        None => match &account.invocation {
            Some(invocation) if !invocation.choice_made => Outcome::WillFreeMem,
            _ => Outcome::Killed,
        },
    }
}

fn ended(account: &InvocationAccount, end: &End, marks_seen: bool) -> Outcome {
    match (end.kill_calls, end.victims) {
        // Without the hook on mark_victim it is not known whether a task was marked.
        (_, 0) if !marks_seen && end.kill_calls > 0 => Outcome::Unknown,
        // Marked after a selection, so the kernel skipped the probe of the choice.
        (0, 1..) if end.facts.and_then(|facts| facts.evaluated) == Some(true) => Outcome::Unknown,
        // Marked without oom_kill_process: task_will_free_mem(current).
        (0, 1..) => Outcome::WillFreeMem,
        // Entered, no task marked: "is already exiting. Skip killing the task".
        (1.., 0) => Outcome::AlreadyExiting,
        // Marked, but __oom_kill_process was not called: the chosen task was exiting by itself.
        (1.., 1..) if end.oom_kill_calls == Some(0) => Outcome::AlreadyExiting,
        (1.., 1..) => Outcome::Killed,
        (0, 0) if end.facts.is_some() => match silent_outcome(account) {
            // Or the trigger was marked, which no hook saw.
            Some(Outcome::VictimPending | Outcome::Reclaimed) if !marks_seen => Outcome::Unknown,
            outcome => outcome.unwrap_or(Outcome::Unknown),
        },
        (0, 0) => at_return(end, marks_seen),
    }
}

/// The outcome from the return value of `out_of_memory`, which older probes see.
fn at_return(end: &End, marks_seen: bool) -> Outcome {
    match end.chosen {
        Some(Chosen::Aborted) => Outcome::VictimPending,
        Some(Chosen::Nobody) if end.selected == Some(true) => Outcome::NoVictim,
        // Before any selection: a notifier freed memory, or the allocation may not kill.
        Some(Chosen::Nobody) if marks_seen => Outcome::Reclaimed,
        // Or the trigger was marked, which no hook saw.
        _ => Outcome::Unknown,
    }
}

/// `None` if no process was chosen.
pub(super) fn reason(account: &InvocationAccount, invocation: &Invocation) -> Option<Reason> {
    let control = invocation.control.as_ref()?;
    if control.order == -1 {
        return Some(Reason::Sysrq);
    }
    if !invocation.choice_made {
        return None;
    }
    let chosen = invocation.chosen.as_ref()?;
    let words = invocation.message.as_ref().map(|words| words.0.as_slice());
    let by_words = words == Some(b"Out of memory (oom_kill_allocating_task)");
    let has_candidates = account.candidates.is_some() || invocation.considered > 0;
    let is_trigger = chosen.tgid == invocation.trigger.tgid && control.chosen_points == 0;
    if by_words || (words.is_none() && !has_candidates && is_trigger) {
        return Some(Reason::AllocatingTask);
    }
    Some(Reason::Selection)
}
