//! Predicts from a few readings when a limit will be reached. Pure.

use serde::Serialize;

/// `MEMCG_CHARGE_BATCH`, 64 pages of 4 KiB: CPUs charge this much in advance, so memory.current may
/// be too high by it. A smaller rise is not growth.
pub(super) const BATCH_BYTES: u64 = 64 * 4096;

/// One reading of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Time on a monotonic clock, ns.
    pub at_ns: u64,
    pub usage_bytes: u64,
    /// The memory that the limit must hold: usage minus reclaimable memory.
    pub need_bytes: u64,
}

impl Sample {
    /// The memory that the kernel would reclaim before it kills.
    pub(crate) fn reclaimable_bytes(&self) -> u64 {
        self.usage_bytes.saturating_sub(self.need_bytes)
    }
}

/// Seconds until the need reaches the limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Forecast {
    /// At the average growth over all readings.
    pub likely_s: f64,
    /// At the growth of the fastest step between two readings, plus a batch.
    pub earliest_s: f64,
    /// At the growth of the slowest step, minus a batch; absent if a step grew by no more than a
    /// batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_s: Option<f64>,
}

/// Growth of the need over all readings, bytes per second; `None` with fewer than two.
pub(crate) fn rate(samples: &[Sample]) -> Option<i64> {
    rate_of(samples, need)
}

/// Growth of the usage over all readings, bytes per second; `None` with fewer than two.
pub(crate) fn usage_rate(samples: &[Sample]) -> Option<i64> {
    rate_of(samples, |sample| sample.usage_bytes)
}

/// The time from the first reading to the last, seconds.
#[expect(clippy::cast_precision_loss, reason = "rounded")]
pub(crate) fn time(samples: &[Sample]) -> Option<f64> {
    let ns = samples.last()?.at_ns.checked_sub(samples.first()?.at_ns).filter(|&ns| ns > 0)?;
    Some(tenths(ns as f64 / 1e9))
}

fn rate_of(samples: &[Sample], bytes: impl Fn(&Sample) -> u64) -> Option<i64> {
    let slope = slope(samples.first()?, samples.last()?, bytes)?;
    #[expect(clippy::cast_possible_truncation, reason = "bytes per second, rounded")]
    Some(slope.round() as i64)
}

fn need(sample: &Sample) -> u64 {
    sample.need_bytes
}

/// `None` if the need grew by less than a batch.
pub(crate) fn forecast(samples: &[Sample], limit_bytes: u64) -> Option<Forecast> {
    let (first, last) = (samples.first()?, samples.last()?);
    if last.need_bytes < first.need_bytes.saturating_add(BATCH_BYTES) {
        return None;
    }
    let steps = samples.windows(2).filter_map(|pair| paces(pair.first()?, pair.get(1)?));
    let (slowest, fastest) = steps
        .fold((f64::INFINITY, 0_f64), |(slowest, fastest), (at_least, at_most)| {
            (slowest.min(at_least), fastest.max(at_most))
        });
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let room = limit_bytes.saturating_sub(last.need_bytes) as f64;
    Some(Forecast {
        likely_s: tenths(room / slope(first, last, need)?),
        earliest_s: tenths(room / fastest),
        latest_s: (slowest > 0.0).then(|| tenths(room / slowest)),
    })
}

/// The lowest and the highest possible growth between two readings, bytes per second: each reading
/// may be just before or just after a batch.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn paces(from: &Sample, to: &Sample) -> Option<(f64, f64)> {
    let pace = slope(from, to, need)?;
    let batch = BATCH_BYTES as f64 * 1e9 / (to.at_ns - from.at_ns) as f64;
    Some((pace - batch, pace + batch))
}

/// The growth between two readings, bytes per second.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn slope(from: &Sample, to: &Sample, bytes: impl Fn(&Sample) -> u64) -> Option<f64> {
    let ns = to.at_ns.checked_sub(from.at_ns).filter(|&ns| ns > 0)?;
    let bytes = bytes(to) as f64 - bytes(from) as f64;
    Some(bytes * 1e9 / ns as f64)
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn sample(at_ns: u64, need_bytes: u64) -> Sample {
        Sample { at_ns, usage_bytes: need_bytes + MIB, need_bytes }
    }

    fn samples(needs: &[u64]) -> Vec<Sample> {
        let sample = |(need, second): (&u64, u64)| sample(second * 1_000_000_000, need * MIB);
        needs.iter().zip(0..).map(sample).collect()
    }

    #[test]
    fn steady_growth_has_a_narrow_range() {
        let forecast = forecast(&samples(&[10, 20, 30]), 100 * MIB);
        assert_eq!(
            forecast,
            Some(Forecast { likely_s: 7.0, earliest_s: 6.8, latest_s: Some(7.2) })
        );
        assert_eq!(rate(&samples(&[10, 20, 30])), Some(10 << 20));
    }

    #[test]
    fn uneven_growth_has_a_wide_range_and_a_pause_no_latest() {
        let uneven = forecast(&samples(&[10, 11, 30]), 100 * MIB).unwrap();
        assert_eq!((uneven.likely_s, uneven.earliest_s, uneven.latest_s), (7.0, 3.6, Some(93.3)));
        assert_eq!(forecast(&samples(&[10, 10, 30]), 100 * MIB).unwrap().latest_s, None);
    }

    #[test]
    fn need_without_growth_has_no_forecast() {
        assert_eq!(forecast(&samples(&[30, 40, 20]), 100 * MIB), None);
        assert_eq!(forecast(&samples(&[30, 30]), 100 * MIB), None);
        assert_eq!(rate(&samples(&[40, 20])), Some(-(20 << 20)));
        let jitter = [sample(0, 0), sample(1, 4096)];
        assert_eq!(forecast(&jitter, MIB), None);
    }

    #[test]
    fn one_reading_or_two_at_once_give_no_forecast() {
        assert_eq!((rate(&samples(&[10])), forecast(&samples(&[10]), MIB)), (None, None));
        let at_once = [sample(5, 0), sample(5, MIB)];
        assert_eq!((rate(&at_once), forecast(&at_once, MIB)), (None, None));
    }

    #[test]
    fn need_above_limit_is_forecast_as_now() {
        let now = Forecast { likely_s: 0.0, earliest_s: 0.0, latest_s: Some(0.0) };
        assert_eq!(forecast(&samples(&[10, 20]), 15 * MIB), Some(now));
    }
}
