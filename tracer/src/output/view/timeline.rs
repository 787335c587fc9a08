//! The timeline: the entry, the kills, and how each victim's memory came back.

use std::time::Duration;

use crate::{
    compose::names,
    fmt::units,
    model::report::{OomReport, Tier, Victim},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the entry into out_of_memory.
    pub(crate) after: Duration,
    pub(crate) what: String,
    pub(crate) kind: MomentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MomentKind {
    Plain,
    Kill,
    Back,
}

/// The events of the invocation, in order of time.
pub(crate) fn moments(report: &OomReport) -> Vec<Moment> {
    let Some(start) = report.boottime_ns else {
        return Vec::new();
    };
    let mut moments = Vec::new();
    let mut add = |after_ns: u64, what: String, kind| {
        moments.push(Moment { after: Duration::from_nanos(after_ns), what, kind });
    };
    // The tracepoint sees the mark alone.
    if report.source.tier != Tier::Tracepoint {
        let task = report.trigger.as_ref().map_or_else(|| "a task".to_owned(), names::trigger);
        add(0, format!("{task} entered out_of_memory"), MomentKind::Plain);
    }
    if let Some(age) = report.system.as_ref().and_then(|system| system.age_ns) {
        add(age, "the host's figures were read".to_owned(), MomentKind::Plain);
    }
    for victim in report.victims.iter().filter(|victim| victim.shares_mm_with.is_none()) {
        let Some(marked) = victim.marked_at_ns.and_then(|marked| marked.checked_sub(start)) else {
            continue;
        };
        for (after, what, kind) in fate(victim) {
            add(marked.saturating_add(after), format!("{} {what}", names::victim(victim)), kind);
        }
    }
    moments.sort_by_key(|moment| moment.after);
    moments
}

/// The events of a victim's end, each with its time since the mark, ns.
fn fate(victim: &Victim) -> impl Iterator<Item = (u64, String, MomentKind)> + use<> {
    let reaped = victim.reaped.as_ref();
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "its memory".to_owned(), units::bytes);
    let skipped = reaped.and_then(|reaped| reaped.skipped) == Some(true);
    let events = [
        Some((0, "was marked and killed".to_owned(), MomentKind::Kill)),
        reaped
            .and_then(|reaped| reaped.started_after_ns)
            .map(|ns| (ns, "is being reaped".to_owned(), MomentKind::Plain)),
        reaped
            .and_then(|reaped| Some((reaped.finished_after_ns?, reaped.bytes)))
            .map(|(ns, bytes)| (ns, format!("was reaped: {} back", size(bytes)), MomentKind::Back)),
        reaped
            .and_then(|reaped| reaped.woken_after_ns)
            .filter(|_| skipped)
            .map(|ns| (ns, "was left alone by the reaper".to_owned(), MomentKind::Plain)),
        victim.exited_after_ns.map(|ns| (ns, "exited".to_owned(), MomentKind::Plain)),
        victim
            .freed_after_ns
            .map(|ns| (ns, format!("gave back {}", size(victim.freed_bytes)), MomentKind::Back)),
    ];
    events.into_iter().flatten()
}

/// Victims that were not gone at the end.
pub(crate) fn stuck(report: &OomReport) -> Vec<String> {
    let stuck = report.victims.iter().filter(|victim| victim.stuck);
    stuck
        .map(|victim| format!("{} was not gone when this was written", names::victim(victim)))
        .collect()
}
