//! Invocations that shot nobody, and victims that do not go.

use std::time::Duration;

use super::{Finding, facts::Facts, limit};
use crate::{
    compose::names,
    fmt::units,
    model::report::{Outcome, Victim, WhyNot},
};

/// cgroup v1 with memory.oom_control = 1.
pub(super) fn disabled(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::Disabled)?;
    let waited = facts.report.waited_ns.map(Duration::from_nanos).map(units::duration);
    let waits = match waited {
        Some(waited) => format!("waited {waited}"),
        None => "waits".to_owned(),
    };
    let sentence = format!(
        "{} {waits} for memory: the OOM killer is disabled for {place} (memory.oom_control)",
        facts.trigger()
    );
    let enable = format!("write 0 to memory.oom_control of {place}, or raise its limit");
    Some(Finding::new(sentence).evidence(facts.domain.filling()).advice([enable]))
}

/// There was room again before anybody was selected.
pub(super) fn reclaimed(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::Reclaimed)?;
    let sentence = format!("{place} had room again before anybody was selected{}", facts.times());
    Some(Finding::new(sentence).evidence(facts.domain.filling()))
}

/// The killer waits for an earlier victim.
pub(super) fn victim_pending(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::VictimPending)?;
    let sentence = format!(
        "{place} is out of memory while an earlier victim is still dying: the kernel waits for it{}",
        facts.times()
    );
    let hint = "the report of that earlier victim says why it was killed".to_owned();
    Some(Finding::new(sentence).evidence(facts.domain.filling()).evidence([hint]))
}

/// Chosen, but on its way out by itself.
pub(super) fn already_exiting(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::AlreadyExiting)?;
    let who = facts.victim().unwrap_or_else(|| "the chosen task".to_owned());
    let sentence =
        format!("{place} ran out of memory, but {who} was exiting already: nobody was shot");
    Some(Finding::new(sentence).evidence(facts.domain.filling()))
}

/// The task that asked for memory was dying anyway.
pub(super) fn will_free_mem(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::WillFreeMem)?;
    let who = facts.victim().unwrap_or_else(|| facts.trigger());
    let sentence = format!(
        "{who} was dying anyway when {place} ran out of memory: it got the reserves, nobody was \
         selected"
    );
    Some(Finding::new(sentence).evidence(facts.domain.filling()))
}

/// Nobody may be killed.
pub(super) fn no_killable_task(facts: &Facts<'_>) -> Option<Finding> {
    let place = when(facts, Outcome::NoVictim)?;
    let sentence = format!("nobody in {place} may be killed, so it stays full{}", facts.times());
    let excused = |why| facts.candidates().filter(move |task| task.why_not == Some(why));
    let reasons = [
        (excused(WhyNot::OomScoreAdjMin).count(), "with oom_score_adj -1000"),
        (excused(WhyNot::OomSkip).count(), "whose memory was reaped already"),
        (excused(WhyNot::NoMm).count(), "without memory of their own"),
        (excused(WhyNot::Vfork).count(), "in vfork"),
        (excused(WhyNot::Init).count(), "that is init"),
    ];
    let told: Vec<String> = reasons
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    let weighed = facts.report.candidates.as_ref().map(|all| all.considered);
    let weighed = weighed.map(|count| match told.as_slice() {
        [] => format!("tasks weighed: {count}"),
        told => format!("tasks weighed: {count}, {}", told.join(", ")),
    });
    let spared = excused(WhyNot::OomScoreAdjMin).next().map(|task| {
        format!("oom_score_adj of {} above -1000 would let it be killed", names::candidate(task))
    });
    Some(
        Finding::new(sentence)
            .evidence(facts.domain.filling())
            .evidence(weighed)
            .advice(limit::above_usage(facts))
            .advice(spared),
    )
}

/// A victim that has not gone by the time the report was closed.
pub(super) fn stuck(facts: &Facts<'_>) -> Option<Finding> {
    let stuck: Vec<&Victim> = facts.report.victims.iter().filter(|victim| victim.stuck).collect();
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
    let name = names::victim(first);
    let sentence = format!("{name}{others} is stuck: it {state}");
    let look = format!("see where it hangs: cat /proc/{}/stack, or sysrq-w in the log", first.pid);
    Some(Finding::new(sentence).advice([look]))
}

/// The domain's name, for an invocation that ended so.
fn when(facts: &Facts<'_>, outcome: Outcome) -> Option<String> {
    let place = || facts.domain.name.clone().unwrap_or_else(|| "a domain".to_owned());
    (facts.report.outcome == outcome).then(place)
}
