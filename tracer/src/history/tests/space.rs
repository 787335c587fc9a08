//! The limits to the space of the history.

use std::path::Path;

use super::super::free_space::KeepFree;
use super::{
    HistoryError, Limits, Store, at, find, ids, line, open, segments, sized_line, tempdir,
};

/// More than any file system has.
const ALL: Option<KeepFree> = Some(KeepFree::Bytes(u64::MAX));

fn open_with(path: &Path, keep_free: Option<KeepFree>) -> Store {
    Store::open(path, Limits { keep_free, ..Limits::default() }, "", at(0)).unwrap()
}

#[test]
fn short_file_system_takes_new_reports_in_the_place_of_old_ones() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    for run in ["a", "b", "c"] {
        let mut store = open(&directory);
        store.append(&sized_line(run, 2_000), at(0)).unwrap();
    }
    // The last run's segment gets its final size.
    drop(open(&directory));
    let mut store = open_with(path, ALL);
    let mut n_stored = 0;
    let error = loop {
        let before = ids(path);
        match store.append(&line(&format!("new{n_stored}")), at(0)) {
            Ok(()) => n_stored += 1,
            Err(error) => break error,
        }
        let after = ids(path);
        // Only the oldest are removed, and never the newest segment.
        let n_removed = before.len() + 1 - after.len();
        assert_eq!(after[..after.len() - 1], before[n_removed..]);
        assert!(n_stored < 100);
    };
    assert!(n_stored > 0);
    assert!(ids(path).contains(&"new0".to_owned()) && !ids(path).contains(&"a".to_owned()));
    assert!(error.may_pass(), "{error}");
    assert!(error.to_string().contains("less free space than --keep-free"), "{error}");
    // The others do not delete more of it.
    let left = ids(path);
    assert!(store.append(&line("no"), at(0)).is_err());
    assert_eq!(ids(path), left);
}

#[test]
fn history_without_old_segments_stores_nothing_on_a_short_file_system() {
    let directory = tempdir().unwrap();
    let mut store = open_with(directory.path(), ALL);
    assert!(store.append(&line("a"), at(0)).is_err());
    assert!(segments(directory.path()).is_empty());
    drop(store);
    let mut store = open_with(directory.path(), Some(KeepFree::Bytes(1)));
    store.append(&line("b"), at(0)).unwrap();
    assert_eq!(ids(directory.path()), ["b"]);
}

#[test]
fn line_is_at_most_512_kib_long() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    let longest = 512 * 1024;
    let around = super::stored("x", 1).len();
    store.append(&sized_line("x", longest - around), at(0)).unwrap();
    let error = store.append(&sized_line("y", longest - around + 1), at(0)).unwrap_err();
    assert!(matches!(error, HistoryError::Record { .. }), "{error}");
    assert!(error.to_string().contains("524289 bytes"), "{error}");
    store.append(&line("z"), at(0)).unwrap();
    let found = find(directory.path());
    assert_eq!(found.found.len(), 2);
    let words = "1 record is missing (seq 2): not stored, removed or damaged";
    assert_eq!(found.holes.message().as_deref(), Some(words));
    assert!(matches!(store.append(b"7", at(0)), Err(HistoryError::Record { .. })));
}
