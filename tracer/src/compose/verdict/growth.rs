//! What grew: one process, at once, steadily or up and down as far as its growth was recorded, or many.

use super::{
    Finding,
    domain::percent,
    facts::{Facts, Holder},
    limit,
    lows::{Lows, lows},
    place,
};
use crate::{
    compose::memory_kinds::total,
    fmt::units,
    model::report::{Growth, GrowthRate},
};

/// One process has most, and grew to that at once.
pub(super) fn burst(facts: &Facts<'_>) -> Option<Finding> {
    let growth = facts.report.growth.as_ref()?;
    let meaning = match growth.kind.as_deref()? {
        "burst" => "most of it came within a short time: one piece of work rather than a slow leak",
        kind if kind.starts_with("plateau") => {
            "usage was level before: this was one piece of work, not a leak"
        }
        _ => return None,
    };
    let finding = grown(facts, growth, ", grown in a burst", meaning.to_owned())?;
    Some(finding.advice([at_once(facts)?]).advice(limit::raise(facts)))
}

/// One process has most, and grew to that steadily, or keeps more each time that it gives back.
pub(super) fn steady(facts: &Facts<'_>) -> Option<Finding> {
    let growth = facts.report.growth.as_ref()?;
    let meaning = match (growth.kind.as_deref()?, lows(growth)) {
        ("steady", _) => "steady growth without a level is what a leak looks like: a larger limit \
                          only buys time"
            .to_owned(),
        ("sawtooth", Some(lows @ Lows { is_rising: true, .. })) => format!(
            "usage goes up and down, and its low points rose from {} to {}: some of it is never \
             given back, which is what a leak looks like; a larger limit only buys time",
            units::bytes(lows.first_bytes),
            units::bytes(lows.last_bytes)
        ),
        _ => return None,
    };
    let finding = grown(facts, growth, ", grown steadily", meaning)?;
    let (holder, _) = largest(facts)?;
    let leak = place::largest(growth, holder.pid, &holder.name)
        .map(|place| format!("find what keeps that memory: {place}"));
    Some(finding.advice(leak).advice(limit::raise(facts)))
}

/// One process has most, and gives it back again and again.
pub(super) fn peaks(facts: &Facts<'_>) -> Option<Finding> {
    let growth =
        facts.report.growth.as_ref().filter(|it| it.kind.as_deref() == Some("sawtooth"))?;
    let meaning = match lows(growth) {
        Some(Lows { is_rising: true, .. }) => return None,
        Some(Lows { first_bytes, last_bytes, .. }) => format!(
            "usage comes down again (lowest as recorded: {} at first, {} at last): its peaks do not \
             fit the limit, which is no leak",
            units::bytes(first_bytes),
            units::bytes(last_bytes)
        ),
        None => "usage went up and down: its peak does not fit the limit".to_owned(),
    };
    let finding = grown(facts, growth, ", at a peak", meaning)?;
    Some(finding.advice([at_once(facts)?]).advice(limit::raise(facts)))
}

/// One process has most.
pub(super) fn one_process(facts: &Facts<'_>) -> Option<Finding> {
    if [burst, steady, peaks].iter().any(|rule| rule(facts).is_some()) {
        return None;
    }
    let (holder, name) = largest(facts)?;
    let growth = facts.report.growth.as_ref();
    let shape = match growth.and_then(|growth| growth.kind.as_deref()) {
        Some(_) => "its curve has no clear shape: leak or limit too small is not known".to_owned(),
        None => "growth was not recorded: leak, burst or limit too small is not known".to_owned(),
    };
    let finding = Finding::new(alone(facts, &holder, &name)?);
    let places = growth.and_then(|growth| place::largest(growth, holder.pid, &holder.name));
    let finding = finding.evidence(growth.and_then(pace)).evidence(places);
    let finding = finding.evidence(common(facts, &holder)).evidence([shape]);
    Some(finding.advice(limit::raise(facts)))
}

/// One process has most, and how it came to that is known.
fn grown(facts: &Facts<'_>, growth: &Growth, how: &str, meaning: String) -> Option<Finding> {
    let (holder, name) = largest(facts)?;
    let finding = Finding::new(alone(facts, &holder, &name)? + how);
    let places = place::largest(growth, holder.pid, &holder.name);
    let finding = finding.evidence(pace(growth)).evidence([meaning]).evidence(places);
    Some(finding.evidence(common(facts, &holder)))
}

fn at_once(facts: &Facts<'_>) -> Option<String> {
    let (holder, _) = largest(facts)?;
    Some(format!(
        "limit what {} takes at once (batch size, concurrency, upload size), or plan for the burst",
        holder.name
    ))
}

/// Many processes have it together.
pub(super) fn many_processes(facts: &Facts<'_>) -> Option<Finding> {
    /// Fewer are some, not many.
    const MANY: usize = 4;
    if !facts.is_shortage() {
        return None;
    }
    let (name, whole) = (facts.domain.name.clone()?, whole(facts)?);
    let holders = facts.holders();
    let first = holders.first()?;
    let sum = total(holders.iter().map(Holder::bytes));
    // What they share is counted with each: where the group's own figure is known, that counts.
    let anon = facts.domain.kinds.anon.filter(|_| facts.domain.is_memcg).unwrap_or(sum).min(sum);
    if holders.len() < MANY || first.bytes() >= whole.div_ceil(2) || anon < whole.div_ceil(2) {
        return None;
    }
    let sentence = format!(
        "{} processes hold {} of the {} of {name} together; the largest, {}, has only {} ({})",
        holders.len(),
        units::bytes(anon),
        units::bytes(whole),
        first.name,
        units::bytes(first.bytes()),
        percent(first.bytes(), whole)
    );
    let unlisted = (!facts.all_are_listed())
        .then(|| "there are more processes than are listed: the sum is a lower bound".to_owned());
    let mean = units::bytes(sum / u64::try_from(holders.len()).unwrap_or(1).max(1));
    let advice = format!("run fewer of them: on average each holds {mean}");
    let finding = Finding::new(sentence).evidence(unlisted);
    Some(finding.evidence(limit::kinds(facts)).advice([advice]).advice(limit::raise(facts)))
}

/// The process that has most of it, if there is one.
fn largest(facts: &Facts<'_>) -> Option<(Holder, String)> {
    let whole = facts.is_shortage().then(|| whole(facts))??;
    let holder = facts.holders().into_iter().next()?;
    let name = facts.domain.name.clone()?;
    (holder.bytes() >= whole.div_ceil(2)).then_some((holder, name))
}

/// Memory and swap that the domain used (a memcg), or has (the host).
fn whole(facts: &Facts<'_>) -> Option<u64> {
    facts.domain.with_swap_bytes.or(facts.domain.whole()).filter(|whole| *whole > 0)
}

fn alone(facts: &Facts<'_>, holder: &Holder, name: &str) -> Option<String> {
    let whole = whole(facts)?;
    let size = units::bytes(holder.bytes());
    let share = percent(holder.bytes().min(whole), whole);
    let verb = if facts.domain.is_memcg { "used" } else { "has" };
    let swap = facts.report.system.as_ref().and_then(|system| system.swap_total_bytes);
    let swap = if facts.domain.is_memcg || swap == Some(0) { "" } else { " with swap" };
    let whole = units::bytes(whole);
    Some(format!(
        "{} alone held {size} ({share}) of the {whole} that {name} {verb}{swap}",
        holder.name
    ))
}

fn common(facts: &Facts<'_>, holder: &Holder) -> Vec<String> {
    let swap = (holder.swap_bytes > 0).then(|| {
        let (anon, swap) = (units::bytes(holder.anon_bytes), units::bytes(holder.swap_bytes));
        format!("{}: {anon} in RAM, {swap} swapped out", holder.name)
    });
    let kinds = facts.domain.is_memcg.then(|| limit::kinds(facts)).flatten();
    let survives = facts.report.victims.iter().all(|victim| victim.pid != holder.pid)
        && !facts.report.victims.is_empty();
    let survives = survives.then(|| format!("{} is not among the victims", holder.name));
    [kinds, swap, survives].into_iter().flatten().collect()
}

/// "grew by 2.1 MiB/s in the last minute, 300 KiB/s since ..."; what goes up and down has no pace, nor what
/// was level before.
fn pace(growth: &Growth) -> Option<String> {
    let kind = growth.kind.as_deref().unwrap_or_default();
    if kind == "sawtooth" || kind.starts_with("plateau") {
        return None;
    }
    let GrowthRate { last_minute, whole } = growth.rate_bytes_per_s.as_ref()?;
    let rate = |rate: Option<i64>| {
        let rate = u64::try_from(rate?).ok().filter(|rate| *rate > 0)?;
        Some(format!("{}/s", units::bytes(rate)))
    };
    let rates = [
        rate(*last_minute).map(|rate| format!("{rate} in the last minute")),
        rate(*whole).map(|rate| format!("{rate} since recording began")),
    ];
    let rates: Vec<String> = rates.into_iter().flatten().collect();
    (!rates.is_empty()).then(|| format!("usage grew by {}", rates.join(", ")))
}
