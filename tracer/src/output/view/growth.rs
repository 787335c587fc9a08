//! The recorded growth: the curve, its pace, and the stacks that charged the memory.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{moment, permille, safe};
use crate::{
    compose::names,
    fmt::{
        chart,
        units::{bytes, duration, percent},
        width::elide,
    },
    model::report::{Frame, Growth, GrowthStack},
};

/// A point of the curve, both in thousandths of the picture.
pub(crate) struct CurvePoint {
    pub(crate) across: u64,
    pub(crate) up: u64,
    /// The limit at that time.
    pub(crate) limit: Option<u64>,
}

/// A curve, and the values at its edges.
pub(crate) struct Curve {
    pub(crate) points: Vec<CurvePoint>,
    pub(crate) span: Duration,
    pub(crate) top_bytes: u64,
    pub(crate) first_bytes: u64,
    pub(crate) last_bytes: u64,
}

impl Curve {
    /// "12 MiB to 256 MiB in 41 s"
    pub(crate) fn summary(&self) -> String {
        let [first, last] = [self.first_bytes, self.last_bytes].map(bytes);
        format!("{first} to {last} in {}", duration(self.span))
    }

    /// In rows of block characters.
    pub(crate) fn rows(&self, width: usize, rows: usize) -> Vec<String> {
        chart::curve(self.points.iter().map(|point| (point.across, point.up)), width, rows)
    }
}

/// The curve, oldest point first; `None` for fewer than two points.
pub(crate) fn curve(growth: &Growth) -> Option<Curve> {
    let mut points = growth.curve.clone();
    points.sort_by_key(|point| point.t_ns);
    let (first, last) = (points.first()?, points.last()?);
    let span = last.t_ns.checked_sub(first.t_ns).filter(|span| *span > 0)?;
    let tops = points.iter().flat_map(|point| [Some(point.usage_bytes), point.limit_bytes]);
    let top_bytes = tops.flatten().max().filter(|top| *top > 0)?;
    let shown = points.iter().map(|point| CurvePoint {
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

/// The rates are over a minute and over all; over all only where the curve is shorter.
const MINUTE: Duration = Duration::from_mins(1);

/// Its shape and pace.
pub(crate) fn pace(growth: &Growth) -> Vec<String> {
    let kind = growth.kind.as_deref().filter(|kind| *kind != "unknown");
    let rates = growth.rate_bytes_per_s.as_ref();
    let span = curve(growth).map(|curve| curve.span);
    let last = rates.and_then(|rates| rates.last_minute);
    let whole = rates.and_then(|rates| rates.whole);
    let paces = match span {
        Some(span) if span < MINUTE => [whole.or(last).map(|it| rate(it, &over(span))), None],
        _ => [
            last.map(|it| rate(it, "in the last minute")),
            whole.map(|it| rate(it, &span.map_or_else(|| "over all".to_owned(), over))),
        ],
    };
    let shape = kind.map(|kind| safe(kind).replace('_', " "));
    shape.into_iter().chain(paces.into_iter().flatten()).collect()
}

fn over(span: Duration) -> String {
    format!("over {}", duration(span))
}

fn rate(bytes_per_s: i64, when: &str) -> String {
    let sign = if bytes_per_s < 0 { "-" } else { "" };
    format!("{sign}{}/s {when}", bytes(bytes_per_s.unsigned_abs()))
}

/// Its shape and pace, and how it was recorded.
pub(crate) fn facts(growth: &Growth, zone: &TimeZone) -> Vec<String> {
    let since = growth.since.map(|since| format!("recorded since {}", moment(since, zone)));
    let unwound_share = growth.unwound_share.filter(|share| (0.0..=1.0).contains(share));
    let unwound = unwound_share
        .map(|share| format!("{:.0} % of the bytes have a whole stack", share * 100.0));
    pace(growth).into_iter().chain(since).chain(unwound).collect()
}

/// Memory that one process charged through one chain of functions.
pub(crate) struct AllocationRow {
    pub(crate) size: String,
    pub(crate) share: String,
    pub(crate) permille: u64,
    pub(crate) process: String,
    /// Functions in user space, innermost first; the kernel's where there is none.
    pub(crate) functions: Vec<String>,
    /// The same with all that is known of them, of the stack with the most bytes.
    pub(crate) frames: Vec<String>,
}

impl AllocationRow {
    /// "java[4242]: parse", "main": the process, with at most `limit` functions.
    pub(crate) fn words(&self, limit: usize) -> Vec<String> {
        let mut functions = self.functions.iter().take(limit).cloned();
        let first = functions.next().map(|function| format!("{}: {function}", self.process));
        first.or_else(|| Some(self.process.clone())).into_iter().chain(functions).collect()
    }
}

/// Rows that a long answer lists; a flame graph has all.
pub(crate) const MAX_ROWS: usize = 12;

fn function(frame: &Frame) -> String {
    /// Names of templates have no end.
    const COLUMNS: usize = 60;
    elide(&names::frame(frame), COLUMNS)
}

/// The largest first.
pub(crate) fn allocations(growth: &Growth) -> Vec<AllocationRow> {
    let stacks = growth.by_functions();
    let total = stacks.iter().map(|stack| stack.bytes).fold(0, u64::saturating_add);
    let row = |stack: &GrowthStack| {
        let share = permille(stack.bytes, total).unwrap_or_default();
        AllocationRow {
            size: bytes(stack.bytes),
            share: percent(share),
            permille: share,
            process: names::allocator(stack),
            functions: stack.frames().iter().map(function).collect(),
            frames: stack.frames().iter().map(names::whole_frame).collect(),
        }
    };
    stacks.iter().map(row).collect()
}
