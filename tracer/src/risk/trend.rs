//! How a cgroup's need moves, from the points that the growth recorder took in the kernel. Pure.
//!
//! The points are of usage, each right after a charge. What is freed makes no point: the last one is
//! memory.current, read now. Need is usage less what can be reclaimed, and that the readings tell: as
//! it was in each, and before the first as it moved since. Of what goes up and down only the peaks count.

use super::forecast::{BATCH_BYTES, Sample, slope};
use crate::{
    growth::{Tooth, kind, teeth},
    model::recorded_growth::Usage,
};

/// ns.
const SECOND: u64 = 1_000_000_000;
/// ns.
const MINUTE: u64 = 60 * SECOND;
/// Steps that a time is cut into at most, to tell the slowest from the fastest.
const STEPS: u64 = 60;
/// A rise of less within a minute is too near to the size of one charge: sixteen batches.
const ENOUGH_BYTES: u64 = 16 * BATCH_BYTES;
/// What can be reclaimed does not count up to this part of the rise: it is all that it can have moved.
const SMALL_PART: u64 = 8;
/// Readings that are nearer to each other do not tell how anything moves. ns.
const APART: u64 = 90_000_000;

/// What a cgroup's points tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trend {
    /// The time that growth is measured over.
    pub samples: Vec<Sample>,
    /// Shape of all its points.
    pub kind: &'static str,
    /// Since when it has not fallen; `None` where it has not risen. `CLOCK_BOOTTIME`, ns.
    pub growing_since_ns: Option<u64>,
    /// Need at the end of each of the last sixty seconds, as far back as it is known.
    pub history: Vec<u64>,
}

/// What this cgroup is read as, besides its points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    /// The readings, the last one now.
    pub readings: &'a [Sample],
    /// memory.max.
    pub limit_bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// By how much memory.stat may be off.
    pub stat_error_bytes: u64,
}

/// What the points tell, oldest first; `None` where they are of less than a second, or where there is
/// so much to reclaim that the need cannot be told without a second reading.
pub(crate) fn trend(curve: &[Usage], read: Read<'_>) -> Option<Trend> {
    let now = read.readings.last()?;
    let page = read.page_bytes.max(1);
    let now_point =
        Usage { t_ns: now.at_ns, usage: now.usage_bytes / page, max: read.limit_bytes / page };
    let mut points: Vec<Usage> =
        curve.iter().copied().take_while(|point| point.t_ns < now.at_ns).collect();
    points.push(now_point);
    let kind = kind(&points);
    let peaks = if kind == "sawtooth" { peaks(&points) } else { None };
    let measured = peaks.unwrap_or_else(|| thinned(window(&points, kind, ENOUGH_BYTES / page)));
    let (first, last) = (measured.first()?, measured.last()?);
    if last.t_ns - first.t_ns < SECOND {
        return None;
    }
    let rise_bytes = last.usage.saturating_sub(first.usage) * page;
    let reclaimable = Reclaimable::new(read, rise_bytes)?;
    let sample = |point: &Usage| {
        let usage_bytes = point.usage * page;
        let need_bytes = usage_bytes.saturating_sub(reclaimable.at(point.t_ns));
        Sample { at_ns: point.t_ns, usage_bytes, need_bytes }
    };
    Some(Trend {
        samples: measured.iter().map(sample).collect(),
        kind,
        growing_since_ns: growing_since(&points, BATCH_BYTES / page),
        history: seconds(&points).iter().map(|point| sample(point).need_bytes).collect(),
    })
}

/// The last minute; all of the last hour where it rises evenly, but in a minute by next to nothing.
fn window<'a>(points: &'a [Usage], kind: &str, enough: u64) -> &'a [Usage] {
    let Some(now) = points.last() else { return points };
    let begin = now.t_ns.saturating_sub(MINUTE);
    // From the last point before it: usage stayed as it was, or fell.
    let first = points.partition_point(|point| point.t_ns <= begin).saturating_sub(1);
    let minute = points.get(first..).unwrap_or(points);
    let moved = minute.first().map_or(0, |first| now.usage.abs_diff(first.usage));
    if moved < enough && kind == "steady" { points } else { minute }
}

/// What goes up and down comes to its limit with a peak: these, and what is highest since. `None` where there
/// are fewer than two.
fn peaks(points: &[Usage]) -> Option<Vec<Usage>> {
    let usages: Vec<u64> = points.iter().map(|point| point.usage).collect();
    let peak = |tooth: &Tooth| points.get(tooth.peak).copied();
    let mut peaks: Vec<Usage> = teeth(&usages).iter().filter_map(peak).collect();
    let [_, .., Usage { usage: highest, .. }] = *peaks.as_slice() else { return None };
    peaks.extend(points.last().map(|now| Usage { usage: now.usage.max(highest), ..*now }));
    Some(thinned(&peaks))
}

/// Points that are far enough from each other for a step between them to be a pace.
fn thinned(points: &[Usage]) -> Vec<Usage> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let step = ((last.t_ns - first.t_ns) / STEPS).max(SECOND);
    let mut kept = vec![*first];
    for point in points {
        if kept.last().is_some_and(|before| point.t_ns - before.t_ns >= step) {
            kept.push(*point);
        }
    }
    if kept.last() != Some(last) {
        // The last step is of up to two.
        if kept.len() > 1 {
            kept.pop();
        }
        kept.push(*last);
    }
    kept
}

/// From when on it has risen, but for what may be one batch.
fn growing_since(points: &[Usage], batch: u64) -> Option<u64> {
    let last = points.last()?;
    let mut lowest = last.usage;
    let mut rise = points.len();
    for (index, point) in points.iter().enumerate().rev() {
        if point.usage > lowest + batch {
            break;
        }
        lowest = lowest.min(point.usage);
        rise = index;
    }
    let rise = points.get(rise..)?;
    let foot = rise.iter().rposition(|point| point.usage <= lowest + batch)?;
    (foot + 1 < rise.len()).then(|| rise[foot].t_ns)
}

/// The state at the end of each of the last sixty seconds.
fn seconds(points: &[Usage]) -> Vec<Usage> {
    let Some(now) = points.last() else { return Vec::new() };
    let ends = (0..60).rev().filter_map(|ago| now.t_ns.checked_sub(ago * SECOND));
    let at = |end: u64| {
        let before = points.partition_point(|point| point.t_ns <= end).checked_sub(1)?;
        Some(Usage { t_ns: end, ..*points.get(before)? })
    };
    ends.filter_map(at).collect()
}

/// What could be reclaimed at any time.
struct Reclaimable<'a> {
    readings: &'a [Sample],
    /// Bytes a second, before the first reading.
    slope: f64,
}

impl<'a> Reclaimable<'a> {
    /// `None` where it matters and is not known.
    fn new(read: Read<'a>, rise_bytes: u64) -> Option<Self> {
        let readings = read.readings;
        let (first, last) = (readings.first()?, readings.last()?);
        let moved = first.reclaimable_bytes().abs_diff(last.reclaimable_bytes());
        let slope = if last.at_ns - first.at_ns >= APART {
            slope(first, last, Sample::reclaimable_bytes)
                .filter(|_| moved > read.stat_error_bytes)
                .unwrap_or_default()
        } else if last.reclaimable_bytes() <= (rise_bytes / SMALL_PART).max(BATCH_BYTES) {
            0.0
        } else {
            return None;
        };
        Some(Self { readings, slope })
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, not below zero"
    )]
    fn at(&self, t_ns: u64) -> u64 {
        let next = self.readings.iter().position(|reading| reading.at_ns >= t_ns);
        let next = next.and_then(|next| Some((next, self.readings.get(next)?)));
        match next {
            None => self.readings.last().map_or(0, Sample::reclaimable_bytes),
            Some((0, first)) => {
                let ago = (first.at_ns - t_ns) as f64 / 1e9;
                (first.reclaimable_bytes() as f64 - self.slope * ago).max(0.0) as u64
            }
            Some((next, to)) => {
                let from = &self.readings[next - 1];
                let part = (t_ns - from.at_ns) as f64 / (to.at_ns - from.at_ns).max(1) as f64;
                let [from, to] = [from, to].map(|it| it.reclaimable_bytes() as f64);
                (from + (to - from) * part).max(0.0) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests;
