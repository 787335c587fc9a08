//! The life of a segment, from its first report until it is removed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use super::super::scan::{Holes, Skipped};
use super::{
    History, Limits, Query, Store, at, find, ids, line, open, segments, sized_line, stored,
    tempdir, time,
};

const SMALL: Limits = Limits { max_use_bytes: 512 << 10, max_age: None, keep_free: None };

#[test]
fn stored_reports_are_found_oldest_first_with_number_and_checksum() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    for (id, second) in [("a", 0), ("b", 1), ("c", 2)] {
        store.append(&line(id), at(second)).unwrap();
    }
    assert_eq!(ids(directory.path()), ["a", "b", "c"]);
    let history = History::open(directory.path()).unwrap();
    let found = history.find::<()>(&Query::default(), usize::MAX).found;
    let mut lines = Vec::new();
    history
        .lines(&found, |line| {
            lines.extend([line, b"\n"].concat());
            Ok::<(), ()>(())
        })
        .unwrap();
    assert_eq!(lines, [stored("a", 1), stored("b", 2), stored("c", 3)].concat());
}

#[test]
fn files_are_readable_by_owner_and_group_only() {
    let outer = tempdir().unwrap();
    let path = outer.path().join("var/lib/oomwhy");
    let mut store = Store::open(&path, Limits::default(), "", at(0)).unwrap();
    store.append(&line("a"), at(0)).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&path) & !0o750, 0);
    assert_eq!(mode(&segments(&path)[0]) & !0o640, 0);
}

#[test]
fn new_run_begins_a_segment_and_compresses_earlier_ones() {
    let directory = tempdir().unwrap();
    for (run, id) in ["a", "b", "c"].iter().enumerate() {
        let mut store = open(&directory);
        store.append(&line(id), at(i64::try_from(run).unwrap())).unwrap();
    }
    let names: Vec<String> = segments(directory.path())
        .iter()
        .map(|it| it.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "20201123T092107.000Z-2f0e7d5c.jsonl.gz",
            "20201123T092108.000Z-2f0e7d5c.jsonl.gz",
            "20201123T092109.000Z-2f0e7d5c.jsonl",
        ]
    );
    assert_eq!(ids(directory.path()), ["a", "b", "c"]);
}

#[test]
fn run_without_a_report_leaves_no_segment() {
    let directory = tempdir().unwrap();
    drop(open(&directory));
    assert!(segments(directory.path()).is_empty());
}

#[test]
fn large_or_day_old_segment_is_closed() {
    let directory = tempdir().unwrap();
    let mut store = Store::open(directory.path(), SMALL, "", at(0)).unwrap();
    for index in 0..7 {
        store.append(&sized_line(&index.to_string(), 20_000), at(index)).unwrap();
    }
    assert_eq!(segments(directory.path()).len(), 3);
    store.append(&line("late"), at(25 * 3600)).unwrap();
    assert_eq!(segments(directory.path()).len(), 4);
    assert_eq!(ids(directory.path()), ["0", "1", "2", "3", "4", "5", "6", "late"]);
}

#[test]
fn oldest_segments_are_removed_when_the_limit_is_reached() {
    let directory = tempdir().unwrap();
    let mut store = Store::open(directory.path(), SMALL, "", at(0)).unwrap();
    let mut random = 1_u64;
    for index in 0..60 {
        // Does not compress.
        let noise: String = (0..20_000)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'0' + u8::try_from(random >> 58).unwrap())
            })
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let text = String::from_utf8(line(&format!("{index:02}"))).unwrap();
        store
            .append(
                text.replace(r#""message":"""#, &format!(r#""message":"{noise}""#)).as_bytes(),
                at(index),
            )
            .unwrap();
        let used: u64 =
            segments(directory.path()).iter().map(|it| it.metadata().unwrap().len()).sum();
        assert!(used <= SMALL.max_use_bytes, "{used}");
    }
    let left = ids(directory.path());
    assert!(left.len() > 20 && left.len() < 60, "{}", left.len());
    assert_eq!(left.last().unwrap(), "59");
    assert!(left.is_sorted());
}

#[test]
fn report_stored_twice_is_found_once_as_stored_last() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    store.append(&sized_line("a", 1), at(0)).unwrap();
    store.append(&line("b"), at(1)).unwrap();
    drop(store);
    let mut store = open(&directory);
    store.append(&sized_line("a", 5), at(2)).unwrap();
    let history = History::open(directory.path()).unwrap();
    let found = history.find::<()>(&Query::default(), usize::MAX).found;
    let mut lines = String::new();
    history
        .lines(&found, |line| {
            lines += std::str::from_utf8(line).unwrap();
            Ok::<(), ()>(())
        })
        .unwrap();
    assert_eq!(found.len(), 2);
    assert!(
        lines.contains(r#""id":"a","message":"xxxxx""#) && !lines.contains(r#""x""#),
        "{lines}"
    );
}

#[test]
fn time_range_query_finds_all_its_records() {
    let directory = tempdir().unwrap();
    let timed = |second: i64| {
        format!(
            "{{\"type\":\"oom\",\"schema\":1,\"id\":\"{second}\",\"time\":\"{}\"}}\n",
            time(second)
        )
    };
    let mut store = open(&directory);
    for day in 0..5 {
        store.append(timed(day * 90_000).as_bytes(), at(day * 90_000 + 10)).unwrap();
    }
    let files = segments(directory.path());
    assert_eq!(files.len(), 5);
    for (day, file) in (0..).zip(files) {
        let file = fs::File::options().append(true).open(file).unwrap();
        let seconds = u64::try_from(time(day * 90_000 + 10).as_second()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    let history = History::open(directory.path()).unwrap();
    let between = |since, until| {
        let (since, until) = (Some(time(since)), Some(time(until)));
        let query = Query { since, until, ..Query::default() };
        history.find::<()>(&query, usize::MAX).found.len()
    };
    assert_eq!(between(90_000, 270_000), 3);
    assert_eq!(between(90_001, 269_999), 1);
    assert_eq!(between(360_000, 360_000), 1);
    assert_eq!(between(0, 0), 1);
}

/// The writer creates, closes and renames segments meanwhile. No report is missed or seen twice.
#[test]
fn concurrent_reader_sees_every_report_stored_before() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let is_done = AtomicBool::new(false);
    let n_stored = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let limits = Limits { max_use_bytes: 1 << 20, ..Limits::default() };
            let mut store = Store::open(path, limits, "", at(0)).unwrap();
            for index in 0..1_000 {
                store.append(&sized_line(&format!("{index:04}"), 4_000), at(index)).unwrap();
                n_stored.store(usize::try_from(index).unwrap() + 1, Ordering::Release);
            }
            is_done.store(true, Ordering::Release);
        });
        let mut n_reads = 0;
        while !is_done.load(Ordering::Acquire) {
            let before = n_stored.load(Ordering::Acquire);
            if before == 0 {
                continue;
            }
            let findings = find(path);
            assert_eq!(findings.skipped, Skipped::default());
            assert_eq!(findings.holes, Holes::default());
            let n_found = findings.found.len();
            let last = findings.found.last().unwrap().summary.id.clone().unwrap();
            assert!(n_found >= before, "{n_found} of {before}");
            assert_eq!(last, format!("{:04}", n_found - 1));
            n_reads += 1;
        }
        assert!(n_reads > 3);
    });
    assert_eq!(ids(path).len(), 1_000);
}
