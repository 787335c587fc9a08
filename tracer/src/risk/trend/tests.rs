//! Curves of a cgroup of 1 GiB, in pages of 4 KiB; times in seconds.

use super::*;
use crate::risk::forecast::{rate, usage_rate};

const MIB: u64 = 1 << 20;
const PAGES: u64 = 256;
const LIMIT: u64 = 1024 * MIB;

/// (second, MiB).
fn curve(points: &[(u64, u64)]) -> Vec<Usage> {
    let point = |&(second, mib): &(u64, u64)| Usage {
        t_ns: second * SECOND,
        usage: mib * PAGES,
        max: LIMIT / 4096,
    };
    points.iter().map(point).collect()
}

/// (second, MiB used, MiB of it reclaimable).
fn readings(readings: &[(u64, u64, u64)]) -> Vec<Sample> {
    let sample = |&(second, usage, reclaimable): &(u64, u64, u64)| Sample {
        at_ns: second * SECOND,
        usage_bytes: usage * MIB,
        need_bytes: (usage - reclaimable) * MIB,
    };
    readings.iter().map(sample).collect()
}

fn told(points: &[(u64, u64)], reads: &[(u64, u64, u64)]) -> Option<Trend> {
    let readings = readings(reads);
    let read = Read {
        readings: &readings,
        limit_bytes: LIMIT,
        page_bytes: 4096,
        stat_error_bytes: BATCH_BYTES,
    };
    trend(&curve(points), read)
}

/// A point a second from `from` to `to`, each by `step` MiB more.
fn rising(from: u64, to: u64, mib: u64, step: u64) -> Vec<(u64, u64)> {
    (from..=to).map(|second| (second, mib + (second - from) * step)).collect()
}

/// Seconds, if it goes on like this.
fn likely(told: &Trend) -> Option<f64> {
    crate::risk::forecast::forecast(&told.samples, LIMIT).map(|forecast| forecast.likely_s)
}

#[test]
fn one_reading_is_enough_to_tell_when_a_leak_is_at_the_limit() {
    let told = told(&rising(1000, 1020, 300, 10), &[(1021, 510, 0)]).unwrap();
    assert_eq!(rate(&told.samples), Some(10 << 20));
    assert_eq!((told.kind, told.growing_since_ns), ("steady", Some(1000 * SECOND)));
    assert_eq!(likely(&told), Some(51.4));
    assert_eq!(told.history.len(), 22);
    assert_eq!((told.history[0], told.history[21]), (300 * MIB, 510 * MIB));
}

#[test]
fn only_the_last_minute_counts_where_it_moves() {
    let mut points = rising(1000, 1100, 100, 0);
    points.extend(rising(1101, 1160, 102, 2));
    let told = told(&points, &[(1161, 222, 0)]).unwrap();
    assert_eq!(rate(&told.samples), Some(2 << 20));
    assert_eq!(told.growing_since_ns, Some(1100 * SECOND));
}

#[test]
fn a_slow_leak_is_seen_over_the_hour() {
    // A MiB a minute: of less than sixteen charges in the last one.
    let points: Vec<_> = (0..60).map(|minute| (10 + minute * 60, 500 + minute)).collect();
    let told = told(&points, &[(3610, 560, 0)]).unwrap();
    assert_eq!(rate(&told.samples), Some((1 << 20) / 60));
    assert_eq!((told.kind, told.samples.len()), ("steady", 61));
    assert_eq!(likely(&told), Some(464.0 * 60.0));
}

#[test]
fn growth_that_is_over_is_none_though_the_hour_has_some() {
    let mut points = rising(10, 60, 100, 10);
    points.extend((2..50).map(|minute| (minute * 60, 600)));
    let told = told(&points, &[(3000, 600, 0)]).unwrap();
    assert_eq!((rate(&told.samples), told.kind), (Some(0), "burst"));
    assert_eq!(likely(&told), None);
}

#[test]
fn what_was_freed_since_the_last_charge_is_seen_in_the_reading() {
    let told = told(&rising(1000, 1020, 300, 10), &[(1030, 300, 0)]).unwrap();
    assert_eq!((rate(&told.samples), told.growing_since_ns), (Some(0), None));
    assert_eq!(told.samples.last().unwrap().usage_bytes, 300 * MIB);
}

#[test]
fn file_cache_that_is_read_in_is_growth_of_usage_and_not_of_need() {
    let points = rising(1000, 1020, 300, 10);
    let cached = told(&points, &[(1020, 500, 300), (1021, 510, 310)]).unwrap();
    assert_eq!(usage_rate(&cached.samples), Some(10 << 20));
    assert_eq!(rate(&cached.samples), Some(0));
    // The same with a cache that stays as it is.
    let leaking = told(&points, &[(1020, 500, 300), (1021, 510, 300)]).unwrap();
    assert_eq!(rate(&leaking.samples), Some(10 << 20));
    assert_eq!(likely(&leaking), Some(81.4));
}

#[test]
fn need_that_takes_the_place_of_cache_at_the_limit_is_seen() {
    let points = rising(1000, 1060, 1024, 0);
    let told = told(&points, &[(1060, 1024, 400), (1061, 1024, 390)]).unwrap();
    assert_eq!((usage_rate(&told.samples), rate(&told.samples)), (Some(0), Some(10 << 20)));
    assert_eq!(likely(&told), Some(39.0));
}

#[test]
fn with_much_to_reclaim_one_reading_does_not_tell_the_need() {
    let points = rising(1000, 1020, 300, 10);
    assert_eq!(told(&points, &[(1021, 510, 300)]), None);
    let little = told(&points, &[(1021, 510, 20)]).unwrap();
    assert_eq!(rate(&little.samples), Some(10 << 20));
    assert_eq!(little.samples.last().unwrap().need_bytes, 490 * MIB);
}

#[test]
fn less_than_a_second_and_points_after_the_reading_tell_nothing() {
    assert_eq!(told(&rising(1000, 1020, 300, 10), &[(1000, 300, 0)]), None);
    assert_eq!(told(&[(1000, 300)], &[(1000, 300, 0)]), None);
    assert_eq!(told(&[], &[(1000, 300, 0)]), None);
}

/// Up to a peak in four seconds, and down again in one.
fn saw(peaks: &[u64]) -> Vec<(u64, u64)> {
    let tooth = |(&peak, begin): (&u64, u64)| {
        (0..=4).map(move |second| (1000 + begin * 5 + second, 100 + second * (peak - 100) / 4))
    };
    peaks.iter().zip(0..).flat_map(tooth).collect()
}

#[test]
fn what_goes_up_and_down_grows_as_its_peaks_do() {
    // In the middle of a rise, which tells nothing.
    let flat = told(&saw(&[500, 500, 500, 500]), &[(1021, 200, 0)]).unwrap();
    assert_eq!((flat.kind, rate(&flat.samples), likely(&flat)), ("sawtooth", Some(0), None));
    let rising = told(&saw(&[500, 550, 600, 650]), &[(1021, 200, 0)]).unwrap();
    assert_eq!(rising.kind, "sawtooth");
    // From 500 MiB in second 4 to 650 in second 19, and not above that two seconds later.
    assert_eq!(rate(&rising.samples), Some(150 * (1 << 20) / 17));
    assert_eq!(likely(&rising), Some(42.4));
    // Higher than ever.
    let higher = told(&saw(&[500, 500, 500]), &[(1016, 800, 0)]).unwrap();
    assert_eq!(higher.samples.last().unwrap().usage_bytes, 800 * MIB);
}
