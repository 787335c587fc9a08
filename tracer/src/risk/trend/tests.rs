//! Curves of a cgroup of 1 GiB, in pages of 4 KiB; times in seconds.

use super::*;
use crate::risk::time_to_limit::{rate, usage_rate};

const MIB: u64 = 1 << 20;
const PAGES: u64 = 256;
const LIMIT: u64 = 1024 * MIB;

/// Points as (second, MiB).
fn curve(points: &[(u64, u64)]) -> Vec<Usage> {
    let point = |&(second, mib): &(u64, u64)| Usage {
        t_ns: second * SECOND_NS,
        usage: mib * PAGES,
        max: LIMIT / 4096,
    };
    points.iter().map(point).collect()
}

/// Readings as (second, MiB of usage, MiB of it reclaimable).
fn readings(readings: &[(u64, u64, u64)]) -> Vec<Sample> {
    let sample = |&(second, usage, reclaimable): &(u64, u64, u64)| Sample {
        at_ns: second * SECOND_NS,
        usage_bytes: usage * MIB,
        need_bytes: (usage - reclaimable) * MIB,
    };
    readings.iter().map(sample).collect()
}

fn trend_of(points: &[(u64, u64)], reads: &[(u64, u64, u64)]) -> Option<Trend> {
    let readings = readings(reads);
    let read = Read {
        readings: &readings,
        limit_bytes: LIMIT,
        page_bytes: 4096,
        stat_error_bytes: BATCH_BYTES,
    };
    trend(&curve(points), read)
}

/// One point per second from `from` to `to`, each `step` MiB higher.
fn rising(from: u64, to: u64, mib: u64, step: u64) -> Vec<(u64, u64)> {
    (from..=to).map(|second| (second, mib + (second - from) * step)).collect()
}

/// Seconds to the limit at the average growth.
fn likely(trend: &Trend) -> Option<f64> {
    crate::risk::time_to_limit::forecast(&trend.samples, LIMIT).map(|forecast| forecast.likely_s)
}

#[test]
fn leak_is_forecast_from_one_reading() {
    let trend = trend_of(&rising(1000, 1020, 300, 10), &[(1021, 510, 0)]).unwrap();
    assert_eq!(rate(&trend.samples), Some(10 << 20));
    assert_eq!(trend.shape, GrowthShape::Steady);
    assert_eq!(trend.growing_since_ns, Some(1000 * SECOND_NS));
    assert_eq!(likely(&trend), Some(51.4));
    assert_eq!(trend.history.len(), 22);
    assert_eq!((trend.history[0], trend.history[21]), (300 * MIB, 510 * MIB));
}

#[test]
fn moving_usage_is_measured_over_last_minute() {
    let mut points = rising(1000, 1100, 100, 0);
    points.extend(rising(1101, 1160, 102, 2));
    let trend = trend_of(&points, &[(1161, 222, 0)]).unwrap();
    assert_eq!(rate(&trend.samples), Some(2 << 20));
    assert_eq!(trend.growing_since_ns, Some(1100 * SECOND_NS));
}

#[test]
fn slow_leak_is_measured_over_the_hour() {
    // 1 MiB per minute: less than sixteen charges in the last one.
    let points: Vec<_> = (0..60).map(|minute| (10 + minute * 60, 500 + minute)).collect();
    let trend = trend_of(&points, &[(3610, 560, 0)]).unwrap();
    assert_eq!(rate(&trend.samples), Some((1 << 20) / 60));
    assert_eq!((trend.shape, trend.samples.len()), (GrowthShape::Steady, 61));
    assert_eq!(likely(&trend), Some(464.0 * 60.0));
}

#[test]
fn growth_before_the_last_minute_is_ignored() {
    let mut points = rising(10, 60, 100, 10);
    points.extend((2..50).map(|minute| (minute * 60, 600)));
    let trend = trend_of(&points, &[(3000, 600, 0)]).unwrap();
    assert_eq!((rate(&trend.samples), trend.shape), (Some(0), GrowthShape::Burst));
    assert_eq!(likely(&trend), None);
}

#[test]
fn memory_freed_after_last_charge_is_in_the_reading() {
    let trend = trend_of(&rising(1000, 1020, 300, 10), &[(1030, 300, 0)]).unwrap();
    assert_eq!((rate(&trend.samples), trend.growing_since_ns), (Some(0), None));
    assert_eq!(trend.samples.last().unwrap().usage_bytes, 300 * MIB);
}

#[test]
fn growing_file_cache_is_growth_of_usage_only() {
    let points = rising(1000, 1020, 300, 10);
    let cached = trend_of(&points, &[(1020, 500, 300), (1021, 510, 310)]).unwrap();
    assert_eq!(usage_rate(&cached.samples), Some(10 << 20));
    assert_eq!(rate(&cached.samples), Some(0));
    // The same with a constant cache.
    let leaking = trend_of(&points, &[(1020, 500, 300), (1021, 510, 300)]).unwrap();
    assert_eq!(rate(&leaking.samples), Some(10 << 20));
    assert_eq!(likely(&leaking), Some(81.4));
}

#[test]
fn need_that_replaces_cache_at_limit_is_growth() {
    let points = rising(1000, 1060, 1024, 0);
    let trend = trend_of(&points, &[(1060, 1024, 400), (1061, 1024, 390)]).unwrap();
    assert_eq!((usage_rate(&trend.samples), rate(&trend.samples)), (Some(0), Some(10 << 20)));
    assert_eq!(likely(&trend), Some(39.0));
}

#[test]
fn one_reading_with_much_reclaimable_memory_gives_no_trend() {
    let points = rising(1000, 1020, 300, 10);
    assert_eq!(trend_of(&points, &[(1021, 510, 300)]), None);
    let little = trend_of(&points, &[(1021, 510, 20)]).unwrap();
    assert_eq!(rate(&little.samples), Some(10 << 20));
    assert_eq!(little.samples.last().unwrap().need_bytes, 490 * MIB);
}

#[test]
fn points_within_a_second_or_after_the_reading_give_no_trend() {
    assert_eq!(trend_of(&rising(1000, 1020, 300, 10), &[(1000, 300, 0)]), None);
    assert_eq!(trend_of(&[(1000, 300)], &[(1000, 300, 0)]), None);
    assert_eq!(trend_of(&[], &[(1000, 300, 0)]), None);
}

/// Each cycle rises to its peak in four seconds and falls in one.
fn saw(peaks: &[u64]) -> Vec<(u64, u64)> {
    let cycle = |(&peak, begin): (&u64, u64)| {
        (0..=4).map(move |second| (1000 + begin * 5 + second, 100 + second * (peak - 100) / 4))
    };
    peaks.iter().zip(0..).flat_map(cycle).collect()
}

#[test]
fn peak_after_the_last_point_is_as_high_as_the_one_before() {
    let mut curve = saw(&[500, 500, 500]);
    curve.extend([(1015, 100), (1016, 200), (1017, 300)]);
    // Usage rose on, and fell before the reading.
    let trend = trend_of(&curve, &[(1019, 50, 0)]).unwrap();
    assert_eq!(rate(&trend.samples), Some(0));
    assert_eq!(trend.samples.last().unwrap().usage_bytes, 500 * MIB);
}

#[test]
fn sawtooth_grows_as_its_peaks() {
    // The reading is in the middle of a rise.
    let flat = trend_of(&saw(&[500, 500, 500, 500]), &[(1021, 200, 0)]).unwrap();
    assert_eq!(flat.shape, GrowthShape::Sawtooth);
    assert_eq!((rate(&flat.samples), likely(&flat)), (Some(0), None));
    let rising = trend_of(&saw(&[500, 550, 600, 650]), &[(1021, 200, 0)]).unwrap();
    assert_eq!(rising.shape, GrowthShape::Sawtooth);
    // 500 MiB in second 4, 650 MiB in second 19, and not above that two seconds later.
    assert_eq!(rate(&rising.samples), Some(150 * (1 << 20) / 17));
    assert_eq!(likely(&rising), Some(42.4));
    // The current usage is the highest peak.
    let higher = trend_of(&saw(&[500, 500, 500]), &[(1016, 800, 0)]).unwrap();
    assert_eq!(higher.samples.last().unwrap().usage_bytes, 800 * MIB);
}
