//! Invocations that killed no process, and victims that stay.

use std::time::Duration;

use super::{Finding, input::VerdictInput, limit};
use crate::{
    compose::names,
    fmt::units,
    model::report::{Outcome, Victim, WhyNot},
};

/// cgroup v1 with memory.oom_control = 1.
pub(super) fn disabled(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::Disabled)?;
    let waited = input.report.waited_ns.map(Duration::from_nanos).map(units::duration);
    let waits = match waited {
        Some(waited) => format!("waited {waited}"),
        None => "waits".to_owned(),
    };
    let sentence = format!(
        "{} {waits} for memory: the OOM killer is disabled for {name} (memory.oom_control)",
        input.trigger()
    );
    let enable = format!("write 0 to memory.oom_control of {name}, or raise its limit");
    Some(Finding::new(sentence).evidence(input.domain.filling()).advice([enable]))
}

/// Memory was freed before a victim was selected.
pub(super) fn reclaimed(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::Reclaimed)?;
    // Reports of older probes have a constraint. They do not show whether a driver freed memory.
    let is_driver = input.report.oom_memcg.is_none() && input.report.constraint.is_none();
    let sentence = if is_driver {
        format!(
            "a driver gave memory back to {name} when it was asked to: nobody was selected{}",
            input.times()
        )
    } else {
        format!("{name} had room again before anybody was selected{}", input.times())
    };
    Some(Finding::new(sentence).evidence(input.domain.filling()))
}

/// An allocation that may not use the file system may not kill either.
pub(super) fn not_allowed(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::NotAllowed)?;
    let sentence = format!(
        "{name} was out of memory, but this allocation may not kill (GFP_NOFS): {} tries \
         again{}",
        input.trigger(),
        input.times()
    );
    Some(Finding::new(sentence).evidence(input.domain.filling()))
}

/// The OOM killer is off during suspend and hibernation.
pub(super) fn suspended(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::Suspended)?;
    let sentence = format!(
        "{name} was out of memory while the machine suspends, when the OOM killer is off: an \
         allocation of {} failed{}",
        input.trigger(),
        input.times()
    );
    Some(Finding::new(sentence).evidence(input.domain.filling()))
}

/// The OOM killer waits for an earlier victim.
pub(super) fn victim_pending(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::VictimPending)?;
    let sentence = format!(
        "{name} is out of memory while an earlier victim is still dying: the kernel waits for \
         it{}",
        input.times()
    );
    let hint = "the report of that earlier victim says why it was killed".to_owned();
    Some(Finding::new(sentence).evidence(input.domain.filling()).evidence([hint]))
}

/// The chosen process was exiting already.
pub(super) fn already_exiting(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::AlreadyExiting)?;
    let who = input.victim().unwrap_or_else(|| "the chosen task".to_owned());
    let sentence =
        format!("{name} ran out of memory, but {who} was exiting already: nobody was shot");
    Some(Finding::new(sentence).evidence(input.domain.filling()))
}

/// The task that asked for memory was exiting already.
pub(super) fn will_free_mem(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::WillFreeMem)?;
    let sentence = match input.victim() {
        Some(who) => format!(
            "{who} was dying anyway when {name} ran out of memory: it got the reserves, nobody was \
             selected"
        ),
        // Its kill has a report of its own.
        None => format!(
            "{} was a victim already when it asked {name} for memory again: nobody was \
             selected{}",
            input.trigger(),
            input.times()
        ),
    };
    Some(Finding::new(sentence).evidence(input.domain.filling()))
}

/// No process may be killed.
pub(super) fn no_killable_task(input: &VerdictInput<'_>) -> Option<Finding> {
    let name = domain_after(input, Outcome::NoVictim)?;
    let sentence = format!("nobody in {name} may be killed, so it stays full{}", input.times());
    let excused = |why| input.candidates().filter(move |task| task.why_not == Some(why));
    let reasons = [
        (excused(WhyNot::OomScoreAdjMin).count(), "with oom_score_adj -1000"),
        (excused(WhyNot::OomSkip).count(), "whose memory was reaped already"),
        (excused(WhyNot::NoMm).count(), "without memory of their own"),
        (excused(WhyNot::Vfork).count(), "in vfork"),
        (excused(WhyNot::Init).count(), "that is init"),
    ];
    let excuses: Vec<String> = reasons
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    let evaluated = input.report.candidates.as_ref().map(|all| match excuses.as_slice() {
        [] => format!("tasks weighed: {}", all.considered),
        excuses => format!("tasks weighed: {}, {}", all.considered, excuses.join(", ")),
    });
    let spared = excused(WhyNot::OomScoreAdjMin).next().map(|task| {
        format!("oom_score_adj of {} above -1000 would let it be killed", names::candidate(task))
    });
    Some(
        Finding::new(sentence)
            .evidence(input.domain.filling())
            .evidence(evaluated)
            .advice(limit::above_usage(input))
            .advice(spared),
    )
}

/// A victim still existed when the report was closed.
pub(super) fn stuck(input: &VerdictInput<'_>) -> Option<Finding> {
    let stuck: Vec<&Victim> = input.report.victims.iter().filter(|victim| victim.stuck).collect();
    let first = stuck.first()?;
    let others = match stuck.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let state = match (first.exited_after_ns, first.freed_after_ns) {
        (Some(_), _) => "has exited, but its memory is not back",
        (None, Some(_)) => "has not exited, though its memory is back",
        (None, None) => "has neither exited nor given its memory back",
    };
    let victim = names::victim(first);
    let sentence = format!("{victim}{others} is stuck: it {state}");
    let look = format!("see where it hangs: cat /proc/{}/stack, or sysrq-w in the log", first.pid);
    Some(Finding::new(sentence).advice([look]))
}

/// The domain's name, if the invocation had this outcome.
fn domain_after(input: &VerdictInput<'_>, outcome: Outcome) -> Option<String> {
    let name = || input.domain.name.clone().unwrap_or_else(|| "the host".to_owned());
    (input.report.outcome == outcome).then(name)
}
