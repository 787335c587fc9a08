//! The clock is set forward and back while reports are stored.

use std::{fs, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{History, Limits, Moment, Query, Store, at, find, ids, line, segments, tempdir, time};

const YEAR: i64 = 365 * 24 * 3600;
const DAY: u64 = 24 * 3600;

/// The moment `second`, with a clock that is wrong by `wrong` seconds.
fn wrong(second: i64, wrong: i64) -> Moment {
    Moment { wall: time(second + wrong), ..at(second) }
}

fn timed(id: &str, time: Timestamp) -> Vec<u8> {
    format!(r#"{{"type":"oom","schema":1,"id":"{id}","time":"{time}"}}"#).into_bytes()
}

#[test]
fn records_and_segments_are_ordered_by_number_when_the_clock_is_set() {
    let directory = tempdir().unwrap();
    let mut moments = Vec::new();
    // Each run stores two records, with another clock.
    for (run, error) in (0..).zip([0, 5 * YEAR, -5 * YEAR, 60, -60]) {
        moments.extend([wrong(run * 100, error), wrong(run * 100 + 1, error)]);
    }
    let mut expected = Vec::new();
    for (number, run) in moments.chunks(2).enumerate() {
        let mut store = Store::open(directory.path(), Limits::default(), "", run[0]).unwrap();
        for (moment, half) in run.iter().zip(["a", "b"]) {
            let id = format!("{number}{half}");
            store.append(&timed(&id, moment.wall), *moment).unwrap();
            expected.push(id);
        }
    }
    assert_eq!(segments(directory.path()).len(), 5);
    assert_eq!(ids(directory.path()), expected);
    let history = History::open(directory.path()).unwrap();
    let newest = history.find::<crate::history::summary::Summary>(&Query::default(), 3).found;
    let newest: Vec<_> = newest.into_iter().map(|it| it.summary.id.unwrap()).collect();
    assert_eq!(newest, expected[7..]);
}

#[test]
fn clock_that_is_set_back_makes_no_segment_per_record() {
    let directory = tempdir().unwrap();
    let mut store = Store::open(directory.path(), Limits::default(), "", at(0)).unwrap();
    for second in 0..20 {
        let error = if second < 2 { 5 * YEAR } else { -5 * YEAR };
        store.append(&line(&second.to_string()), wrong(second, error)).unwrap();
    }
    assert_eq!(segments(directory.path()).len(), 1);
}

#[test]
fn record_is_found_by_its_time_although_the_clock_was_set_back_before_the_write() {
    let directory = tempdir().unwrap();
    let mut store = Store::open(directory.path(), Limits::default(), "", at(0)).unwrap();
    // The file's time is the true one, long before that of the record.
    let ahead = Timestamp::now() + SignedDuration::from_hours(1000);
    store.append(&timed("ahead", ahead), at(0)).unwrap();
    drop(store);
    // Closes the segment.
    drop(Store::open(directory.path(), Limits::default(), "", at(1)).unwrap());
    assert!(segments(directory.path())[0].to_string_lossy().ends_with(".gz"));
    let query = Query { since: Some(ahead - SignedDuration::from_secs(1)), ..Query::default() };
    let history = History::open(directory.path()).unwrap();
    assert_eq!(history.find::<()>(&query, usize::MAX).found.len(), 1);
}

/// The age of a segment is that of its file, which was written now.
fn wall(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

fn now_plus(days: i64) -> Moment {
    let since_boot = Duration::from_secs((YEAR + days * 24 * 3600).try_into().unwrap());
    Moment { wall: wall(days), since_boot }
}

/// A history with one report a segment, and its writer.
fn three_segments(path: &std::path::Path) -> Store {
    let limits = Limits { max_age: Some(Duration::from_secs(9 * DAY)), ..Limits::default() };
    for id in ["a", "b"] {
        let mut store = Store::open(path, limits.clone(), "", now_plus(0)).unwrap();
        store.append(&line(id), now_plus(0)).unwrap();
    }
    let mut store = Store::open(path, limits, "", now_plus(0)).unwrap();
    store.append(&line("c"), now_plus(0)).unwrap();
    store
}

#[test]
fn old_segments_are_removed_on_time_but_not_the_newest_one() {
    let directory = tempdir().unwrap();
    let mut store = three_segments(directory.path());
    store.expire(now_plus(8)).unwrap();
    assert_eq!(ids(directory.path()), ["a", "b", "c"]);
    store.expire(now_plus(10)).unwrap();
    assert_eq!(ids(directory.path()), ["c"]);
    store.append(&line("d"), now_plus(10)).unwrap();
    assert_eq!(ids(directory.path()), ["c", "d"]);
    // A day or a quarter of the age after its beginning, a segment was closed.
    assert_eq!(segments(directory.path()).len(), 2);
    store.expire(now_plus(20)).unwrap();
    assert_eq!(ids(directory.path()), ["d"]);
}

#[test]
fn clock_that_is_set_deletes_nothing() {
    let directory = tempdir().unwrap();
    let mut store = three_segments(directory.path());
    let jumped = |days| Moment { wall: wall(days), ..now_plus(1) };
    for days in [4_000, -4_000] {
        store.expire(jumped(days)).unwrap();
        assert_eq!(ids(directory.path()), ["a", "b", "c"], "{days}");
    }
    drop(store);
    // A run that starts with a wrong clock deletes nothing at its start.
    let limits = Limits { max_age: Some(Duration::from_secs(9 * DAY)), ..Limits::default() };
    let mut store = Store::open(directory.path(), limits, "", now_plus(4_000)).unwrap();
    assert_eq!(find(directory.path()).found.len(), 3);
    // The clock is corrected before the first check.
    store.expire(jumped(0)).unwrap();
    assert_eq!(find(directory.path()).found.len(), 3);
}

#[test]
fn file_of_the_future_stays() {
    let directory = tempdir().unwrap();
    let mut store = three_segments(directory.path());
    let future = std::time::SystemTime::now() + Duration::from_secs(4_000 * DAY);
    let second = &segments(directory.path())[1];
    fs::File::options().append(true).open(second).unwrap().set_modified(future).unwrap();
    store.expire(now_plus(10)).unwrap();
    assert_eq!(ids(directory.path()), ["b", "c"]);
}
