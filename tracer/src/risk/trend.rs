//! The growth of a cgroup's need, from the points of the growth recorder in the kernel. Pure.
//!
//! A point is the usage right after a charge. Freed memory makes no point, so the last point is
//! memory.current from the reading. Need is usage minus reclaimable memory, which only the readings
//! have. Before the first reading, reclaimable memory is assumed to change at the rate between the
//! readings. Of a sawtooth only the peaks count.

use super::time_to_limit::{BATCH_BYTES, Sample, slope};
use crate::{
    growth::{Cycle, GrowthShape, cycles, shape},
    model::recorded_growth::Usage,
};

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Maximum number of steps between the points of a sample, of which the slowest and the fastest
/// give the range of the forecast.
const MAX_STEPS: u64 = 60;
/// A smaller rise within a minute is too close to the size of one charge: sixteen batches.
const MIN_RISE_BYTES: u64 = 16 * BATCH_BYTES;
/// Reclaimable memory below this part of the rise (an eighth) may count as constant: it cannot have
/// changed by more than itself.
const SMALL_PART: u64 = 8;
/// Minimum distance of two readings from which to compute a rate. ns.
const MIN_DISTANCE_NS: u64 = 90_000_000;

/// The growth of a cgroup, from its points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trend {
    /// The points from which to compute the growth.
    pub samples: Vec<Sample>,
    /// The shape of all points.
    pub shape: GrowthShape,
    /// When usage last stopped falling; `None` if it has not risen since. `CLOCK_BOOTTIME`, ns.
    pub growing_since_ns: Option<u64>,
    /// The need at the end of each of the last sixty seconds, as far back as it is known. Bytes.
    pub history: Vec<u64>,
}

/// The values of the cgroup that were read from cgroupfs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    /// Oldest first; the last one is the current reading.
    pub readings: &'a [Sample],
    /// From memory.max (v1: memory.limit_in_bytes).
    pub limit_bytes: u64,
    pub page_bytes: u64,
    /// By how much memory.stat may lag behind.
    pub stat_error_bytes: u64,
}

/// The growth from these points, oldest first. `None` if they span less than a second, or if so
/// much memory is reclaimable that the need is unknown without a second reading.
pub(crate) fn trend(curve: &[Usage], read: Read<'_>) -> Option<Trend> {
    let now = read.readings.last()?;
    let page = read.page_bytes.max(1);
    let now_point =
        Usage { t_ns: now.at_ns, usage: now.usage_bytes / page, max: read.limit_bytes / page };
    let mut points: Vec<Usage> =
        curve.iter().copied().take_while(|point| point.t_ns < now.at_ns).collect();
    points.push(now_point);
    let shape = shape(&points);
    let peaks = if shape == GrowthShape::Sawtooth { peaks(&points) } else { None };
    let measured = peaks.unwrap_or_else(|| thinned(window(&points, shape, MIN_RISE_BYTES / page)));
    let (first, last) = (measured.first()?, measured.last()?);
    if last.t_ns - first.t_ns < SECOND_NS {
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
        shape,
        growing_since_ns: growing_since(&points, BATCH_BYTES / page),
        history: seconds(&points).iter().map(|point| sample(point).need_bytes).collect(),
    })
}

/// The points of the last minute. If usage moved by less than `min_rise` pages in that minute and
/// the whole curve is steady, all points.
fn window(points: &[Usage], shape: GrowthShape, min_rise: u64) -> &[Usage] {
    let Some(now) = points.last() else { return points };
    let begin = now.t_ns.saturating_sub(MINUTE_NS);
    // Includes the last point before that minute: usage did not rise until the next point.
    let first = points.partition_point(|point| point.t_ns <= begin).saturating_sub(1);
    let minute = points.get(first..).unwrap_or(points);
    let moved = minute.first().map_or(0, |first| now.usage.abs_diff(first.usage));
    if moved < min_rise && shape == GrowthShape::Steady { points } else { minute }
}

/// The peaks of a sawtooth, which hits its limit at a peak. The current usage counts as the newest
/// peak, or the last peak if that is higher. If only the reading shows a fall, that peak is not in
/// the points: it counts as high as the one before it. `None` with fewer than two peaks.
fn peaks(points: &[Usage]) -> Option<Vec<Usage>> {
    let usages: Vec<u64> = points.iter().map(|point| point.usage).collect();
    let peak = |cycle: &Cycle| points.get(cycle.peak).copied();
    let cycles = cycles(&usages);
    let mut peaks: Vec<Usage> = cycles.iter().filter_map(peak).collect();
    let [.., Usage { usage: before, .. }, newest] = peaks.as_mut_slice() else { return None };
    // Usage rose on after the last recorded point, and had fallen before the reading.
    if cycles.last().is_some_and(|cycle| cycle.peak + 2 == points.len()) {
        newest.usage = newest.usage.max(*before);
    }
    let highest = newest.usage;
    peaks.extend(points.last().map(|now| Usage { usage: now.usage.max(highest), ..*now }));
    Some(thinned(&peaks))
}

/// Drops points that are less than a second or less than a sixtieth of the whole time apart.
fn thinned(points: &[Usage]) -> Vec<Usage> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let step = ((last.t_ns - first.t_ns) / MAX_STEPS).max(SECOND_NS);
    let mut kept = vec![*first];
    for point in points {
        if kept.last().is_some_and(|before| point.t_ns - before.t_ns >= step) {
            kept.push(*point);
        }
    }
    if kept.last() != Some(last) {
        // The last step may be up to twice as long.
        if kept.len() > 1 {
            kept.pop();
        }
        kept.push(*last);
    }
    kept
}

/// When the current rise began. A fall of up to one batch does not end a rise.
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

/// The usage at the end of each of the last sixty seconds.
fn seconds(points: &[Usage]) -> Vec<Usage> {
    let Some(now) = points.last() else { return Vec::new() };
    let ends = (0..60).rev().filter_map(|ago| now.t_ns.checked_sub(ago * SECOND_NS));
    let at = |end: u64| {
        let before = points.partition_point(|point| point.t_ns <= end).checked_sub(1)?;
        Some(Usage { t_ns: end, ..*points.get(before)? })
    };
    ends.filter_map(at).collect()
}

/// Reclaimable memory over time.
struct Reclaimable<'a> {
    readings: &'a [Sample],
    /// The assumed change before the first reading, bytes per second.
    slope: f64,
}

impl<'a> Reclaimable<'a> {
    /// `None` if the change is unknown and too large to ignore.
    fn new(read: Read<'a>, rise_bytes: u64) -> Option<Self> {
        let readings = read.readings;
        let (first, last) = (readings.first()?, readings.last()?);
        let moved = first.reclaimable_bytes().abs_diff(last.reclaimable_bytes());
        let slope = if last.at_ns - first.at_ns >= MIN_DISTANCE_NS {
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
        let mut readings = self.readings.iter().enumerate();
        match readings.find(|(_, reading)| reading.at_ns >= t_ns) {
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
