//! The limit that was hit: one that was lowered, or a parent's; and how far to raise it.

use super::{Finding, domain::cgroup_name, input::VerdictInput};
use crate::{
    fmt::units,
    model::report::{LimitLevel, Outcome},
};

/// Functions that set a limit, and kill until usage is below it: cgroup v2, v1
/// (<https://github.com/torvalds/linux/blob/v6.12/mm/memcontrol.c>, memcontrol-v1.c).
pub(crate) const LIMIT_SETTERS: [&str; 2] = ["memory_max_write", "mem_cgroup_resize_max"];

/// The limit was set below the usage.
pub(super) fn lowered(input: &VerdictInput<'_>) -> Option<Finding> {
    let is_hit = matches!(input.report.outcome, Outcome::Killed | Outcome::Unknown);
    if !(is_hit && input.domain.is_memcg && input.was_in(&LIMIT_SETTERS)) {
        return None;
    }
    let owner = input.domain.name.as_deref().unwrap_or("a cgroup");
    let to = input.domain.size_bytes.map(|max| format!(" to {}", units::bytes(max)));
    let usage = input.domain.used_bytes.map(|usage| format!(" of {}", units::bytes(usage)));
    let sentence = format!(
        "{} lowered the limit of {owner}{}, below its usage{}",
        input.trigger(),
        to.unwrap_or_default(),
        usage.unwrap_or_default()
    );
    Some(Finding::new(sentence).advice(above_usage(input)))
}

/// A limit that would not have been hit at this moment, if usage is above the limit.
pub(super) fn above_usage(input: &VerdictInput<'_>) -> Option<String> {
    let (usage, max) = (input.domain.used_bytes?, input.domain.size_bytes?);
    let owner = input.domain.name.as_deref()?;
    (input.domain.is_memcg && usage > max).then(|| {
        format!(
            "a limit of {} for {owner} would hold what it used then (at least {} more than {})",
            units::bytes(usage),
            units::bytes(usage - max),
            units::bytes(max)
        )
    })
}

/// A parent's limit was hit while the victim's own was not.
pub(super) fn parent(input: &VerdictInput<'_>) -> Option<Finding> {
    if !input.is_shortage() || !input.domain.is_memcg {
        return None;
    }
    let owner = input.domain.name.as_deref()?;
    let (own, headroom) = nearest(input.levels_below())?;
    let (usage, max) = (own.usage_bytes?, own.max_bytes?);
    let name = cgroup_name(&own.cgroup)?;
    let sentence = format!(
        "the limit of {owner} was hit, not that of {name} below it, which had {} left",
        units::bytes(headroom)
    );
    let own = format!("{name} used {} of its own {}", units::bytes(usage), units::bytes(max));
    let siblings = input.domain.used_bytes.and_then(|all| all.checked_sub(usage));
    let others = siblings
        .filter(|bytes| *bytes >= 1 << 20)
        .map(|bytes| format!("others below {owner} used {}", units::bytes(bytes)));
    let raise = input.domain.size_bytes.map(|limit| {
        format!(
            "raise the limit of {owner} by {} (to {}): then {name} meets its own first, unless \
             others grow too",
            units::bytes(headroom),
            units::bytes(limit.saturating_add(headroom))
        )
    });
    let vain = input.domain.size_bytes.filter(|limit| max > *limit).map(|limit| {
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
            .evidence(kinds(input))
            .advice(raise)
            .advice(vain),
    )
}

/// The limit below that was nearest to being hit.
fn nearest(levels: &[LimitLevel]) -> Option<(&LimitLevel, u64)> {
    let limited = levels.iter().filter_map(|level| Some((level, level.headroom_bytes?)));
    limited.filter(|(_, headroom)| *headroom > 0).min_by_key(|(_, headroom)| *headroom)
}

/// The kinds of memory, with their shares.
pub(super) fn kinds(input: &VerdictInput<'_>) -> Option<String> {
    input.domain.memory_shares()
}

/// The smallest limit under which this allocation would have succeeded. It is a lower bound: the
/// next allocations are not known.
pub(super) fn raise(input: &VerdictInput<'_>) -> Option<String> {
    // These rules advise a size themselves.
    if !input.domain.is_memcg || parent(input).is_some() || input.was_in(&LIMIT_SETTERS) {
        return None;
    }
    let owner = input.domain.name.as_deref()?;
    let request = input.request_bytes();
    let Some((what, usage, max, short)) = counters(input).find_map(|(what, usage, max)| {
        let needed = usage.saturating_add(request?);
        Some((what, usage, max, needed.checked_sub(max).filter(|short| *short > 0)?))
    }) else {
        let filling = input.domain.filling()?;
        return input.domain.size_bytes.map(|_| {
            format!("raise the limit of {owner}; how far is not known: {filling} at the choice")
        });
    };
    Some(format!(
        "raise the {what} of {owner} by at least {} ({} used + {} asked for - {} allowed); how \
         much would have been enough in the end {}",
        units::bytes(short),
        units::bytes(usage),
        units::bytes(request?),
        units::bytes(max),
        amount_needed(input)
    ))
}

/// The limited counters: memory; on cgroup v1 also memory and swap together.
fn counters(input: &VerdictInput<'_>) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let memcg = input.report.oom_memcg.as_ref();
    let memory = input.domain.used_bytes.zip(input.domain.size_bytes);
    let both = memcg.and_then(|memcg| memcg.memsw_usage_bytes.zip(memcg.memsw_max_bytes));
    let named = [("limit", memory), ("limit of memory and swap", both)];
    named.into_iter().filter_map(|(what, counter)| Some((what, counter?.0, counter?.1)))
}

/// Ends a sentence about how much would have been enough.
fn amount_needed(input: &VerdictInput<'_>) -> String {
    /// A usual step by which people raise limits.
    const STEP: u64 = 100 << 20;
    let growth = input.report.growth.as_ref();
    // The average predicts further growth only if the growth is steady.
    let steady = growth.filter(|growth| growth.kind.as_deref() == Some("steady"));
    let rates = steady.and_then(|growth| growth.rate_bytes_per_s.as_ref());
    let rate = rates.and_then(|rates| u64::try_from(rates.last_minute.or(rates.whole)?).ok());
    let Some(rate) = rate.filter(|rate| *rate > 0) else {
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
