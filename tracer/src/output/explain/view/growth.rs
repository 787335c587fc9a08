//! What grew, where that was recorded: the curve, its pace, and the stacks that took the memory.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{moment, percent, permille, safe, stacks::frame};
use crate::{
    compose::names,
    fmt::{layout::elide, units},
    model::report::{Frame, Growth, GrowthStack},
};

/// A point of the curve, both in thousandths of the picture.
pub(in crate::output::explain) struct Point {
    pub(in crate::output::explain) across: u64,
    pub(in crate::output::explain) up: u64,
    /// The limit at that time.
    pub(in crate::output::explain) limit: Option<u64>,
}

/// The curve, and what its edges stand for.
pub(in crate::output::explain) struct Curve {
    pub(in crate::output::explain) points: Vec<Point>,
    pub(in crate::output::explain) span: Duration,
    pub(in crate::output::explain) top_bytes: u64,
    pub(in crate::output::explain) first_bytes: u64,
    pub(in crate::output::explain) last_bytes: u64,
}

/// The curve, oldest point first; `None` for fewer than two points.
pub(in crate::output::explain) fn curve(growth: &Growth) -> Option<Curve> {
    let mut points = growth.curve.clone();
    points.sort_by_key(|point| point.t_ns);
    let (first, last) = (points.first()?, points.last()?);
    let span = last.t_ns.checked_sub(first.t_ns).filter(|span| *span > 0)?;
    let tops = points.iter().flat_map(|point| [Some(point.usage_bytes), point.limit_bytes]);
    let top_bytes = tops.flatten().max().filter(|top| *top > 0)?;
    let shown = points.iter().map(|point| Point {
        across: permille(point.t_ns - first.t_ns, span).unwrap_or_default(),
        up: permille(point.usage_bytes, top_bytes).unwrap_or_default(),
        limit: point.limit_bytes.and_then(|limit| permille(limit, top_bytes)),
    });
    Some(Curve {
        points: shown.collect(),
        span: Duration::from_nanos(span),
        top_bytes,
        first_bytes: first.usage_bytes,
        last_bytes: last.usage_bytes,
    })
}

/// Its shape and pace.
pub(in crate::output::explain) fn facts(growth: &Growth, zone: &TimeZone) -> Vec<String> {
    let rate = |rate: Option<i64>, when: &str| {
        let rate = rate?;
        let sign = if rate < 0 { "-" } else { "" };
        Some(format!("{sign}{}/s {when}", units::bytes(rate.unsigned_abs())))
    };
    let rates = growth.rate_bytes_per_s.as_ref();
    let facts = [
        growth.kind.as_deref().map(|kind| format!("kind: {}", safe(kind))),
        rates.and_then(|rates| rate(rates.last_minute, "in the last minute")),
        rates.and_then(|rates| rate(rates.whole, "over all")),
        growth.since.map(|since| format!("recorded since {}", moment(since, zone))),
        growth
            .unwound_share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(|share| format!("{:.0} % of the bytes have a whole stack", share * 100.0)),
    ];
    facts.into_iter().flatten().collect()
}

/// Memory that was taken from one place.
pub(in crate::output::explain) struct Place {
    pub(in crate::output::explain) size: String,
    pub(in crate::output::explain) share: String,
    pub(in crate::output::explain) permille: u64,
    pub(in crate::output::explain) process: String,
    /// Functions in user space, innermost first; the kernel's where there is none.
    pub(in crate::output::explain) functions: Vec<String>,
    /// The same with all that is known of them, of the stack with the most bytes.
    pub(in crate::output::explain) frames: Vec<String>,
}

/// Places that are listed; a flame graph has all.
pub(in crate::output::explain) const MOST_PLACES: usize = 12;

/// What a frame is called, not longer than is read.
fn function(frame: &Frame) -> String {
    /// Names of templates have no end.
    const COLUMNS: usize = 60;
    elide(&names::frame(frame), COLUMNS)
}

/// The places, the largest first.
pub(in crate::output::explain) fn places(growth: &Growth) -> Vec<Place> {
    let stacks = growth.by_functions();
    let total = stacks.iter().map(|stack| stack.bytes).fold(0, u64::saturating_add);
    let place = |stack: &GrowthStack| {
        let share = permille(stack.bytes, total).unwrap_or_default();
        Place {
            size: units::bytes(stack.bytes),
            share: percent(share),
            permille: share,
            process: stack.pid.map_or_else(
                || "on behalf of another cgroup".to_owned(),
                |pid| names::task(stack.comm.as_deref(), None, pid),
            ),
            functions: stack.frames().iter().map(function).collect(),
            frames: stack.frames().iter().map(frame).collect(),
        }
    };
    stacks.iter().map(place).collect()
}
