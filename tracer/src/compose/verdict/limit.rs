//! Whose limit it was: lowered by somebody, or a parent's; and what a higher one would have to be.

use super::{Finding, domain::place, facts::Facts};
use crate::{
    fmt::units,
    model::report::{LimitLevel, Outcome},
};

/// Functions that set a limit, and kill until usage is below it: cgroup v2, v1.
/// https://github.com/torvalds/linux/blob/v6.12/mm/memcontrol.c, memcontrol-v1.c
pub(super) const SETTERS: [&str; 2] = ["memory_max_write", "mem_cgroup_resize_max"];

/// The limit was set below what was used.
pub(super) fn lowered(facts: &Facts<'_>) -> Option<Finding> {
    let is_hit = matches!(facts.report.outcome, Outcome::Killed | Outcome::Unknown);
    if !(is_hit && facts.domain.is_memcg && facts.was_in(&SETTERS)) {
        return None;
    }
    let place = facts.domain.name.as_deref().unwrap_or("a cgroup");
    let to = facts.domain.size_bytes.map(|max| format!(" to {}", units::bytes(max)));
    let usage = facts.domain.used_bytes.map(|usage| format!(" of {}", units::bytes(usage)));
    let sentence = format!(
        "{} lowered the limit of {place}{}, below its usage{}",
        facts.trigger(),
        to.unwrap_or_default(),
        usage.unwrap_or_default()
    );
    Some(Finding::new(sentence).advice(above_usage(facts)))
}

/// A limit that would not have been hit at this moment, where usage is above the limit.
pub(super) fn above_usage(facts: &Facts<'_>) -> Option<String> {
    let (usage, max) = (facts.domain.used_bytes?, facts.domain.size_bytes?);
    let place = facts.domain.name.as_deref()?;
    (facts.domain.is_memcg && usage > max).then(|| {
        format!(
            "a limit of {} for {place} would hold what it used then (at least {} more than {})",
            units::bytes(usage),
            units::bytes(usage - max),
            units::bytes(max)
        )
    })
}

/// A parent's limit was hit while the victim's own was not.
pub(super) fn parent(facts: &Facts<'_>) -> Option<Finding> {
    if !facts.is_shortage() || !facts.domain.is_memcg {
        return None;
    }
    let owner = facts.domain.name.as_deref()?;
    let (own, headroom) = nearest(facts.levels_below())?;
    let (usage, max) = (own.usage_bytes?, own.max_bytes?);
    let name = place(&own.cgroup)?;
    let sentence = format!(
        "the limit of {owner} was hit, not that of {name} below it, which had {} left",
        units::bytes(headroom)
    );
    let own = format!("{name} used {} of its own {}", units::bytes(usage), units::bytes(max));
    let others = facts.domain.used_bytes.and_then(|all| all.checked_sub(usage));
    let others = others
        .filter(|others| *others >= 1 << 20)
        .map(|others| format!("others below {owner} used {}", units::bytes(others)));
    let raise = facts.domain.size_bytes.map(|limit| {
        format!(
            "raise the limit of {owner} by {} (to {}): then {name} meets its own first, unless \
             others grow too",
            units::bytes(headroom),
            units::bytes(limit.saturating_add(headroom))
        )
    });
    let vain = facts.domain.size_bytes.filter(|limit| max > *limit).map(|limit| {
        format!(
            "or lower that of {name}: its {} can never be used under the {} of {owner}",
            units::bytes(max),
            units::bytes(limit)
        )
    });
    Some(
        Finding::new(sentence)
            .evidence([own])
            .evidence(others)
            .evidence(kinds(facts))
            .advice(raise)
            .advice(vain),
    )
}

/// The limit below that was nearest to being hit.
fn nearest(levels: &[LimitLevel]) -> Option<(&LimitLevel, u64)> {
    let limited = levels.iter().filter_map(|level| Some((level, level.headroom_bytes?)));
    limited.filter(|(_, headroom)| *headroom > 0).min_by_key(|(_, headroom)| *headroom)
}

/// What the memory was, by its shares.
pub(super) fn kinds(facts: &Facts<'_>) -> Option<String> {
    facts.domain.memory_shares()
}

/// The smallest limit under which this allocation would have gone through: a bound, for what would
/// have been asked for next is not known.
pub(super) fn raise(facts: &Facts<'_>) -> Option<String> {
    // Those rules say how far themselves.
    if !facts.domain.is_memcg || parent(facts).is_some() || facts.was_in(&SETTERS) {
        return None;
    }
    let place = facts.domain.name.as_deref()?;
    let request = facts.request_bytes();
    let Some((what, usage, max, short)) = counters(facts).find_map(|(what, usage, max)| {
        let needed = usage.saturating_add(request?);
        Some((what, usage, max, needed.checked_sub(max).filter(|short| *short > 0)?))
    }) else {
        let filling = facts.domain.filling()?;
        return facts.domain.size_bytes.map(|_| {
            format!("raise the limit of {place}; how far is not known: {filling} at the choice")
        });
    };
    Some(format!(
        "raise the {what} of {place} by at least {} ({} used + {} asked for - {} allowed); how much \
         would have been enough in the end {}",
        units::bytes(short),
        units::bytes(usage),
        units::bytes(request?),
        units::bytes(max),
        outlook(facts)
    ))
}

/// What is limited: memory; cgroup v1 also memory and swap together.
fn counters(facts: &Facts<'_>) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let memcg = facts.report.oom_memcg.as_ref();
    let memory = facts.domain.used_bytes.zip(facts.domain.size_bytes);
    let both = memcg.and_then(|memcg| memcg.memsw_usage_bytes.zip(memcg.memsw_max_bytes));
    let named = [("limit", memory), ("limit of memory and swap", both)];
    named.into_iter().filter_map(|(what, counter)| Some((what, counter?.0, counter?.1)))
}

fn outlook(facts: &Facts<'_>) -> String {
    /// What people raise limits by.
    const STEP: u64 = 100 << 20;
    let growth = facts.report.growth.as_ref();
    // What did not grow evenly before will not go on as it was on average.
    let growth = growth.filter(|growth| growth.kind.as_deref() == Some("steady"));
    let rate = growth.and_then(|growth| growth.rate_bytes_per_s.as_ref());
    let rate = rate.and_then(|rate| rate.last_minute.or(rate.whole));
    let Some(rate) = rate.and_then(|rate| u64::try_from(rate).ok()).filter(|rate| *rate > 0) else {
        return "is not known".to_owned();
    };
    let lasts = std::time::Duration::from_millis(STEP.saturating_mul(1000) / rate);
    format!(
        "is not known: at its pace of {}/s another {} last {}",
        units::bytes(rate),
        units::bytes(STEP),
        units::duration(lasts)
    )
}
