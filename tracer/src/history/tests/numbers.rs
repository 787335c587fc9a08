//! The numbers of records: every run goes on with them, and a lost record leaves a hole.

use std::fs;

use super::super::{
    scan::{Holes, Skipped},
    summary::Summary,
};
use super::{History, Limits, Query, Store, at, find, ids, line, open, segments, stored, tempdir};

/// The numbers of all records.
fn seqs(path: &std::path::Path) -> Vec<Option<u64>> {
    find(path).found.into_iter().map(|found| found.summary.seq).collect()
}

fn holes(path: &std::path::Path) -> Option<String> {
    find(path).holes.message()
}

#[test]
fn every_run_goes_on_with_the_numbers() {
    let directory = tempdir().unwrap();
    for run in 0..4 {
        let mut store = open(&directory);
        if run != 2 {
            store.append(&line(&format!("{run}a")), at(run)).unwrap();
            store.append(&line(&format!("{run}b")), at(run)).unwrap();
        }
    }
    assert_eq!(seqs(directory.path()), (1..=6).map(Some).collect::<Vec<_>>());
    assert_eq!(holes(directory.path()), None);
}

#[test]
fn lost_record_leaves_a_hole() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    store.append(&line("a"), at(0)).unwrap();
    store.skip(2);
    store.append(&line("b"), at(0)).unwrap();
    drop(store);
    open(&directory).append(&line("c"), at(0)).unwrap();
    assert_eq!(seqs(directory.path()), [Some(1), Some(4), Some(5)]);
    let words = "2 records are missing (seq 2 to 3): not stored, removed or damaged";
    assert_eq!(holes(directory.path()).as_deref(), Some(words));
}

#[test]
fn removed_segment_leaves_a_hole_unless_it_is_the_oldest() {
    let directory = tempdir().unwrap();
    for id in ["a", "b", "c", "d"] {
        open(&directory).append(&line(id), at(0)).unwrap();
    }
    let files = segments(directory.path());
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(holes(directory.path()), None);
    fs::remove_file(&files[2]).unwrap();
    assert!(holes(directory.path()).unwrap().starts_with("1 record is missing (seq 3)"));
}

/// A number is not given twice, even if its line is unreadable.
#[test]
fn number_of_a_damaged_line_at_the_end_is_not_used_again() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    store.append(&line("a"), at(0)).unwrap();
    store.append(&line("b"), at(0)).unwrap();
    drop(store);
    let file = &segments(directory.path())[0];
    let mut content = fs::read(file).unwrap();
    let length = content.len();
    content[length - 30] ^= 1;
    fs::write(file, content).unwrap();
    open(&directory).append(&line("c"), at(0)).unwrap();
    assert_eq!(seqs(directory.path()), [Some(1), Some(3)]);
    assert!(holes(directory.path()).unwrap().contains("(seq 2)"));
}

/// Files of the first version: without numbers, ids of gaps and losses, and checksums.
#[test]
fn history_of_an_older_version_is_read_as_before_and_goes_on() {
    let directory = tempdir().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/history/6a8143b");
    for entry in fs::read_dir(folder).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, directory.path().join(from.file_name().unwrap())).unwrap();
    }
    let types = || {
        let found = find(directory.path());
        assert_eq!((found.skipped, found.holes), (Skipped::default(), Holes::default()));
        found.found.into_iter().map(|it| it.summary.kind).collect::<Vec<_>>()
    };
    let before = types();
    assert_eq!(before, ["oom", "loss", "oom", "gap", "oom", "oom"]);
    let newest = |n: usize| {
        let history = History::open(directory.path()).unwrap();
        let found = history.find::<Summary>(&Query::default(), n).found;
        found.into_iter().map(|found| found.summary.time().unwrap()).collect::<Vec<_>>()
    };
    let (all, last) = (newest(usize::MAX), newest(2));
    assert!(all.is_sorted());
    assert_eq!(last, all[all.len() - 2..]);
    // The next run closes the open segment, and its records come last.
    let mut store = Store::open(directory.path(), Limits::default(), "", at(0)).unwrap();
    store.append(&line("new"), at(0)).unwrap();
    assert_eq!(types().len(), before.len() + 1);
    assert_eq!(find(directory.path()).found.last().unwrap().summary.seq, Some(1));
    assert!(segments(directory.path()).iter().all(|it| fs::metadata(it).unwrap().len() > 0));
}

/// An older version can have written after this one.
#[test]
fn numbers_before_those_of_an_older_version_are_not_used_again() {
    let directory = tempdir().unwrap();
    let mut store = open(&directory);
    store.append(&line("a"), at(0)).unwrap();
    store.append(&line("b"), at(0)).unwrap();
    drop(store);
    let older = directory.path().join("20301123T092107.000Z-2f0e7d5c.jsonl");
    fs::write(older, line("older")).unwrap();
    open(&directory).append(&line("c"), at(1)).unwrap();
    assert_eq!(seqs(directory.path()), [None, Some(1), Some(2), Some(3)]);
}

#[test]
fn search_for_the_newest_reads_no_older_segments() {
    let directory = tempdir().unwrap();
    for id in ["a", "b", "c", "d", "e", "f"] {
        open(&directory).append(&line(id), at(0)).unwrap();
    }
    // Each is read only if it is opened: four threads read the newest ones.
    let files = segments(directory.path());
    for old in &files[..2] {
        fs::write(old, b"no gzip").unwrap();
    }
    let newest = |n: usize| {
        let history = History::open(directory.path()).unwrap();
        history.find::<Summary>(&Query::default(), n)
    };
    assert_eq!(newest(usize::MAX).skipped.damaged, 2);
    let found = newest(1);
    assert_eq!((found.found.len(), found.skipped), (1, Skipped::default()));
    assert_eq!(found.found[0].summary.id.as_deref(), Some("f"));
    assert_eq!(ids(directory.path()), ["c", "d", "e", "f"]);
}

#[test]
fn lines_are_read_in_any_order() {
    let directory = tempdir().unwrap();
    for run in [["a", "b", "c"], ["d", "e", "f"]] {
        let mut store = open(&directory);
        for id in run {
            store.append(&line(id), at(0)).unwrap();
        }
    }
    let history = History::open(directory.path()).unwrap();
    let mut found = history.find::<()>(&Query::default(), usize::MAX).found;
    let lines = |found: &[_]| {
        let mut lines = Vec::new();
        let each = |line: &[u8]| {
            lines.push([line, b"\n"].concat());
            Ok::<(), ()>(())
        };
        history.lines(found, each).unwrap();
        lines
    };
    let mut expected: Vec<_> =
        ["a", "b", "c", "d", "e", "f"].iter().zip(1..).map(|(id, seq)| stored(id, seq)).collect();
    assert_eq!(lines(&found), expected);
    found.reverse();
    expected.reverse();
    assert_eq!(lines(&found), expected);
    found.swap(0, 4);
    expected.swap(0, 4);
    assert_eq!(lines(&found), expected);
}
