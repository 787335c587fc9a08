//! Reasons for the choice: sysrq, a sysctl, oom_score_adj, memory.oom.group.

use super::{Finding, domain::cgroup_name, input::VerdictInput};
use crate::{
    compose::names,
    model::report::{Candidate, Reason},
};

/// A user triggered the OOM killer by sysrq.
pub(super) fn sysrq(input: &VerdictInput<'_>) -> Option<Finding> {
    if input.report.reason != Some(Reason::Sysrq) {
        return None;
    }
    let who = input.victim().filter(|_| input.killed());
    let died = who.map_or_else(|| "nobody died".to_owned(), |who| format!("{who} died"));
    let sentence =
        format!("{died} because somebody pressed sysrq-f (or wrote f to /proc/sysrq-trigger)");
    let note = "this says nothing about a shortage of memory".to_owned();
    Some(Finding::new(sentence).evidence([note]))
}

/// The sysctl vm.oom_kill_allocating_task is set: the trigger itself was chosen.
pub(super) fn allocating_task(input: &VerdictInput<'_>) -> Option<Finding> {
    if !input.is_shortage() || input.report.reason != Some(Reason::AllocatingTask) {
        return None;
    }
    let sentence = format!(
        "{} died because it asked for memory, not because it had most: \
         vm.oom_kill_allocating_task is set",
        input.victim().unwrap_or_else(|| input.trigger())
    );
    let advice = "sysctl vm.oom_kill_allocating_task=0 has the kernel weigh all tasks".to_owned();
    Some(Finding::new(sentence).advice([advice]))
}

/// Without oom_score_adj another process would have been chosen.
pub(super) fn oom_score_adj(input: &VerdictInput<'_>) -> Option<Finding> {
    if !input.is_shortage() || input.report.reason == Some(Reason::AllocatingTask) {
        return None;
    }
    let chosen = input.chosen()?;
    let others = input.eligible().filter(|task| task.pid != chosen.pid);
    let other = others.max_by_key(|task| own_points(task))?;
    let margin = own_points(other)?.checked_sub(own_points(chosen)?).filter(|it| *it > 0)?;
    let name = names::candidate(chosen);
    let or_another = if input.all_are_listed() { "" } else { " (or one that is not listed)" };
    let sentence = format!(
        "{name} was chosen only because of oom_score_adj: without it {}{or_another} would have \
         died, by {}",
        names::candidate(other),
        input.points(margin)
    );
    let sums = [chosen, other].map(sum);
    let finding = Finding::new(sentence).evidence(sums.into_iter().flatten());
    Some(finding.advice(change(input, chosen, other)))
}

/// Points without the weight of oom_score_adj.
fn own_points(task: &Candidate) -> Option<i64> {
    task.points?.checked_sub(task.adj_pages?)
}

fn sum(task: &Candidate) -> Option<String> {
    let (points, weight, adj) = (task.points?, task.adj_pages?, task.oom_score_adj?);
    let sign = if weight < 0 { "-" } else { "+" };
    Some(format!(
        "{}: {points} points = {} {sign} {} for oom_score_adj {adj}",
        names::candidate(task),
        own_points(task)?,
        weight.unsigned_abs()
    ))
}

/// The smallest changes of one oom_score_adj with which another process would have been chosen.
fn change(input: &VerdictInput<'_>, chosen: &Candidate, other: &Candidate) -> Vec<String> {
    let Some(weight) = input.weight() else {
        return Vec::new();
    };
    let lower = || {
        // The best of the others with the oom_score_adj that they have.
        let others = input.eligible().filter(|task| task.pid != chosen.pid);
        let best = others.max_by_key(|task| task.points)?;
        let (own, points) = (own_points(chosen)?, best.points?);
        let below = below(points.checked_sub(own)?, weight);
        let adj = chosen.oom_score_adj.filter(|adj| i64::from(*adj) >= below)?;
        let sum = own.saturating_add((below - 1).saturating_mul(weight));
        (below > -1000).then(|| {
            format!(
                "oom_score_adj of {} from {adj} to below {below}: {} would have been chosen \
                 ({own} + {} * {weight} = {sum}, below its {points})",
                names::candidate(chosen),
                names::candidate(best),
                below - 1,
            )
        })
    };
    let raise = || {
        let above = above(chosen.points?.checked_sub(own_points(other)?)?, weight);
        let adj = other.oom_score_adj.filter(|adj| i64::from(*adj) <= above && *adj < 0)?;
        (above < 1000).then(|| {
            let name = names::candidate(other);
            format!(
                "oom_score_adj of {name} from {adj} to above {above} would have had it chosen \
                 instead"
            )
        })
    };
    [lower(), raise()].into_iter().flatten().collect()
}

/// The smallest integer `a` with `a * weight >= points`: below it, the sum is less. Of equal sums
/// the kernel takes the later task, so equal is not enough.
pub(super) fn below(points: i64, weight: i64) -> i64 {
    points.div_euclid(weight) + i64::from(points.rem_euclid(weight) > 0)
}

/// The largest integer `a` with `a * weight <= points`: above it, the sum is more.
pub(super) fn above(points: i64, weight: i64) -> i64 {
    points.div_euclid(weight)
}

/// memory.oom.group: all processes of a cgroup die together.
pub(super) fn oom_group(input: &VerdictInput<'_>) -> Option<Finding> {
    let memcg = input.report.oom_memcg.as_ref().filter(|memcg| memcg.oom_group == Some(true))?;
    let victims = &input.report.victims;
    let lost = input.report.n_victims() - victims.len();
    let own = victims.iter().filter(|victim| victim.shares_mm_with.is_none());
    let count = own.count() + lost;
    if !input.is_shortage() || count < 2 {
        return None;
    }
    let name = cgroup_name(&memcg.cgroup)?;
    let sentence = format!(
        "memory.oom.group of {name} took {} more with {}",
        count - 1,
        input.victim().unwrap_or_else(|| "the chosen one".to_owned())
    );
    let advice = format!("memory.oom.group 0 in {name} would have killed the chosen one alone");
    Some(Finding::new(sentence).advice([advice]))
}
