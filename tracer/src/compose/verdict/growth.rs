//! Which processes grew: one of them (at once, steadily, or up and down if growth was recorded), or
//! many.

use super::{
    Finding, allocation_site,
    domain::percent,
    input::{Holder, VerdictInput},
    limit,
    troughs::{Troughs, troughs},
};
use crate::{
    compose::memory_kinds::total,
    fmt::units,
    model::report::{Growth, GrowthRate},
};

/// One process held most of the memory, and grew to that at once.
pub(super) fn burst(input: &VerdictInput<'_>) -> Option<Finding> {
    let growth = input.report.growth.as_ref()?;
    let meaning = match growth.kind.as_deref()? {
        "burst" => "most of it came within a short time: one piece of work rather than a slow leak",
        kind if kind.starts_with("plateau") => {
            "usage was level before: this was one piece of work, not a leak"
        }
        _ => return None,
    };
    let finding = grown(input, growth, ", grown in a burst", meaning.to_owned())?;
    Some(finding.advice([at_once(input)?]).advice(limit::raise(input)))
}

/// One process held most of the memory, and grew steadily, or kept more after each peak.
pub(super) fn steady(input: &VerdictInput<'_>) -> Option<Finding> {
    let growth = input.report.growth.as_ref()?;
    let meaning = match (growth.kind.as_deref()?, troughs(growth)) {
        ("steady", _) => "steady growth without a level is what a leak looks like: a larger limit \
                          only buys time"
            .to_owned(),
        ("sawtooth", Some(troughs @ Troughs { is_rising: true, .. })) => format!(
            "usage goes up and down, and its low points rose from {} to {}: some of it is never \
             given back, which is what a leak looks like; a larger limit only buys time",
            units::bytes(troughs.first_bytes),
            units::bytes(troughs.last_bytes)
        ),
        _ => return None,
    };
    let finding = grown(input, growth, ", grown steadily", meaning)?;
    let (holder, _) = largest(input)?;
    let leak = allocation_site::largest(growth, holder.pid, &holder.name)
        .map(|site| format!("find what keeps that memory: {site}"));
    Some(finding.advice(leak).advice(limit::raise(input)))
}

/// One process held most of the memory, and freed it again and again.
pub(super) fn peaks(input: &VerdictInput<'_>) -> Option<Finding> {
    let growth =
        input.report.growth.as_ref().filter(|it| it.kind.as_deref() == Some("sawtooth"))?;
    let meaning = match troughs(growth) {
        Some(Troughs { is_rising: true, .. }) => return None,
        Some(Troughs { first_bytes, last_bytes, .. }) => format!(
            "usage comes down again (lowest as recorded: {} at first, {} at last): its peaks do \
             not fit the limit, which is no leak",
            units::bytes(first_bytes),
            units::bytes(last_bytes)
        ),
        None => "usage went up and down: its peak does not fit the limit".to_owned(),
    };
    let finding = grown(input, growth, ", at a peak", meaning)?;
    Some(finding.advice([at_once(input)?]).advice(limit::raise(input)))
}

/// One process held most of the memory.
pub(super) fn one_process(input: &VerdictInput<'_>) -> Option<Finding> {
    if [burst, steady, peaks].iter().any(|rule| rule(input).is_some()) {
        return None;
    }
    let (holder, name) = largest(input)?;
    let growth = input.report.growth.as_ref();
    let shape = match growth.and_then(|growth| growth.kind.as_deref()) {
        Some(_) => "its curve has no clear shape: leak or limit too small is not known".to_owned(),
        None => "growth was not recorded: leak, burst or limit too small is not known".to_owned(),
    };
    let site = growth.and_then(|it| allocation_site::largest(it, holder.pid, &holder.name));
    let finding = Finding::new(alone(input, &holder, &name)?)
        .evidence(growth.and_then(pace))
        .evidence(site)
        .evidence(common(input, &holder))
        .evidence([shape]);
    Some(finding.advice(limit::raise(input)))
}

/// One process held most of the memory, and the shape of its growth is known.
fn grown(input: &VerdictInput<'_>, growth: &Growth, how: &str, meaning: String) -> Option<Finding> {
    let (holder, name) = largest(input)?;
    let finding = Finding::new(alone(input, &holder, &name)? + how)
        .evidence(pace(growth))
        .evidence([meaning])
        .evidence(allocation_site::largest(growth, holder.pid, &holder.name));
    Some(finding.evidence(common(input, &holder)))
}

fn at_once(input: &VerdictInput<'_>) -> Option<String> {
    let (holder, _) = largest(input)?;
    Some(format!(
        "limit what {} takes at once (batch size, concurrency, upload size), or plan for the burst",
        holder.name
    ))
}

/// Many processes held most of the memory together.
pub(super) fn many_processes(input: &VerdictInput<'_>) -> Option<Finding> {
    /// Fewer processes are not called many.
    const MANY: usize = 4;
    if !input.is_shortage() {
        return None;
    }
    let (name, whole) = (input.domain.name.clone()?, whole(input)?);
    let holders = input.holders();
    let first = holders.first()?;
    let sum = total(holders.iter().map(Holder::bytes));
    // Shared memory is counted with each process: the figure of the memcg is better, if known.
    let anon = input.domain.kinds.anon.filter(|_| input.domain.is_memcg).unwrap_or(sum).min(sum);
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
    let unlisted = (!input.all_are_listed())
        .then(|| "there are more processes than are listed: the sum is a lower bound".to_owned());
    let mean = units::bytes(sum / u64::try_from(holders.len()).unwrap_or(1).max(1));
    let advice = format!("run fewer of them: on average each holds {mean}");
    let finding = Finding::new(sentence).evidence(unlisted);
    Some(finding.evidence(limit::kinds(input)).advice([advice]).advice(limit::raise(input)))
}

/// The process that held at least half of the memory.
fn largest(input: &VerdictInput<'_>) -> Option<(Holder, String)> {
    let whole = input.is_shortage().then(|| whole(input))??;
    let holder = input.holders().into_iter().next()?;
    let name = input.domain.name.clone()?;
    (holder.bytes() >= whole.div_ceil(2)).then_some((holder, name))
}

/// Memory and swap: the usage of a memcg, the size of the host.
fn whole(input: &VerdictInput<'_>) -> Option<u64> {
    input.domain.with_swap_bytes.or(input.domain.whole()).filter(|whole| *whole > 0)
}

fn alone(input: &VerdictInput<'_>, holder: &Holder, name: &str) -> Option<String> {
    let whole = whole(input)?;
    let size = units::bytes(holder.bytes());
    let share = percent(holder.bytes().min(whole), whole);
    let verb = if input.domain.is_memcg { "used" } else { "has" };
    let swap = input.report.system.as_ref().and_then(|system| system.swap_total_bytes);
    let swap = if input.domain.is_memcg || swap == Some(0) { "" } else { " with swap" };
    let whole = units::bytes(whole);
    Some(format!(
        "{} alone held {size} ({share}) of the {whole} that {name} {verb}{swap}",
        holder.name
    ))
}

fn common(input: &VerdictInput<'_>, holder: &Holder) -> Vec<String> {
    let swap = (holder.swap_bytes > 0).then(|| {
        let (anon, swap) = (units::bytes(holder.anon_bytes), units::bytes(holder.swap_bytes));
        format!("{}: {anon} in RAM, {swap} swapped out", holder.name)
    });
    let kinds = input.domain.is_memcg.then(|| limit::kinds(input)).flatten();
    let victims = &input.report.victims;
    let is_victim = victims.is_empty() || victims.iter().any(|it| it.pid == holder.pid);
    let survives = (!is_victim).then(|| format!("{} is not among the victims", holder.name));
    [kinds, swap, survives].into_iter().flatten().collect()
}

/// "usage grew by 2.1 MiB/s in the last minute, 300 KiB/s since recording began"; `None` for a
/// sawtooth and for a plateau, of which an average shows nothing.
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
    let last_minute = rate(*last_minute).map(|rate| format!("{rate} in the last minute"));
    let whole = rate(*whole).map(|rate| format!("{rate} since recording began"));
    let rates: Vec<String> = [last_minute, whole].into_iter().flatten().collect();
    (!rates.is_empty()).then(|| format!("usage grew by {}", rates.join(", ")))
}
