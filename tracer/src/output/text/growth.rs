//! What grew: the curve in one line, and the places that took most.

use std::time::Duration;

use anstyle::Style;

use super::Detail;
use crate::{
    compose::names,
    fmt::{layout::Block, sanitize::sanitize, units},
    model::report::{Growth, GrowthPoint, GrowthStack, OomReport},
};

/// Columns of the curve.
const COLUMNS: u64 = 24;
/// Places that are shown.
const BRIEF: usize = 3;
/// Frames of each.
const FRAMES: usize = 4;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes what was recorded.
pub(super) fn write(block: &mut Block, report: &OomReport, detail: Detail) {
    let Some(growth) = &report.growth else {
        return;
    };
    let mut section = block.section("growth");
    section.facts(curve(growth).into_iter().chain(pace(growth)));
    let places = growth.by_functions();
    let total = places.iter().map(|stack| stack.bytes).fold(0, u64::saturating_add);
    for stack in places.iter().take(detail.rows(BRIEF)) {
        let (words, lead) = place(stack, total, detail);
        section.joined(&words, " < ", &lead, Style::new());
    }
}

/// "▁▂▄█ 12 MiB to 256 MiB in 41 s".
fn curve(growth: &Growth) -> Option<String> {
    let (first, last) = (growth.curve.first()?, growth.curve.last()?);
    let span_ns = last.t_ns.checked_sub(first.t_ns).filter(|span| *span > 0)?;
    let [from, to] = [first, last].map(|point| units::bytes(point.usage_bytes));
    let span = units::duration(Duration::from_nanos(span_ns));
    Some(format!("{} {from} to {to} in {span}", sparkline(&growth.curve, first.t_ns, span_ns)))
}

/// The highest usage of each column's time, as a share of the most that usage or limit was.
fn sparkline(curve: &[GrowthPoint], since_ns: u64, span_ns: u64) -> String {
    let most = curve.iter().map(|point| point.usage_bytes.max(point.limit_bytes.unwrap_or(0)));
    let most = most.max().unwrap_or(1).max(1);
    let ends = (1..=COLUMNS).map(|column| {
        u128::from(since_ns) + u128::from(span_ns) * u128::from(column) / u128::from(COLUMNS)
    });
    let points = curve.iter().map(|point| (u128::from(point.t_ns), point.usage_bytes));
    let bar = |usage: u64| {
        let step = u128::from(usage) * BARS.len() as u128 / (u128::from(most) + 1);
        BARS.get(usize::try_from(step).unwrap_or_default()).copied().unwrap_or(' ')
    };
    highest(points, ends).map(bar).collect()
}

/// The highest value of each column's time, the latest one before it where it has none. Points: time and
/// value, oldest first. A column's time ends where it says.
pub(crate) fn highest<T: PartialOrd>(
    points: impl Iterator<Item = (T, u64)>,
    ends: impl Iterator<Item = T>,
) -> impl Iterator<Item = u64> {
    let mut points = points.peekable();
    let mut latest = 0;
    ends.map(move |end| {
        let mut highest = None;
        while let Some((_, value)) = points.next_if(|(at, _)| *at <= end) {
            latest = value;
            highest = highest.max(Some(value));
        }
        highest.unwrap_or(latest)
    })
}

fn pace(growth: &Growth) -> Vec<String> {
    let kind = growth.kind.as_deref().filter(|kind| *kind != "unknown");
    let kind = kind.map(|kind| sanitize(kind.as_bytes()).replace('_', " "));
    let rate = growth.rate_bytes_per_s.as_ref().and_then(|rate| rate.last_minute);
    let rate = rate.map(|rate| {
        let sign = if rate < 0 { "-" } else { "" };
        format!("{sign}{}/s in the last minute", units::bytes(rate.unsigned_abs()))
    });
    kind.into_iter().chain(rate).collect()
}

/// Frames, and what stands before the second line of them.
fn place(stack: &GrowthStack, total: u64, detail: Detail) -> (Vec<String>, String) {
    let percent = u128::from(stack.bytes) * 100 / u128::from(total.max(1));
    let process = stack.pid.map_or_else(
        || "on behalf of another cgroup".to_owned(),
        |pid| names::task(stack.comm.as_deref(), None, pid),
    );
    let head = format!("{} ({percent} %) {process}", units::bytes(stack.bytes));
    let mut frames = stack.frames().iter().take(detail.rows(FRAMES)).map(names::frame);
    let first = frames.next().map_or_else(|| head.clone(), |frame| format!("{head}: {frame}"));
    (std::iter::once(first).chain(frames).collect(), "  ".to_owned())
}
