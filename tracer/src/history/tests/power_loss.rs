//! The power is lost at any moment, and bytes are damaged: readers and the next writer lose at most
//! the line that was hit.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{Store, at, find, ids, line, open, segments, stored, tempdir};

const BEFORE: [&str; 4] = ["a", "b", "c", "d"];
const LAST: [&str; 3] = ["e", "f", "g"];

/// A history with two closed segments and an open one, in memory if possible: each of a thousand
/// runs syncs its files.
fn history() -> TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap();
    for run in BEFORE.chunks(2).chain([LAST.as_slice()]) {
        let mut store = open(&directory);
        for id in run {
            store.append(&line(id), at(0)).unwrap();
        }
    }
    directory
}

/// All files with their contents.
type Files = Vec<(String, Vec<u8>)>;

fn files(path: &Path) -> Files {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    segments(path).iter().map(|it| (name(it), fs::read(it).unwrap())).collect()
}

fn restore(path: &Path, files: &Files) {
    for file in segments(path) {
        fs::remove_file(file).unwrap();
    }
    for (name, content) in files {
        fs::write(path.join(name), content).unwrap();
    }
}

/// Checks that these records are found, before the next run and after it.
fn check(directory: &TempDir, expected: &[&str], what: &str) {
    assert_eq!(ids(directory.path()), expected, "{what}");
    let highest = find(directory.path()).found.iter().filter_map(|it| it.summary.seq).max();
    let mut store = open(directory);
    store.append(&line("new"), at(5)).unwrap();
    let found = find(directory.path()).found;
    let all = found.iter().map(|it| it.summary.id.clone().unwrap());
    let with_new: Vec<&str> = expected.iter().chain([&"new"]).copied().collect();
    assert_eq!(all.collect::<Vec<_>>(), with_new, "{what}, after the next run");
    assert!(found.last().unwrap().summary.seq > highest, "{what}: a number was used twice");
}

/// The number of complete lines in the first bytes of the open segment.
fn n_complete(content: &[u8], length: usize) -> usize {
    // A line is complete without its newline.
    let ends = content.iter().enumerate().filter(|(at, byte)| **byte == b'\n' && *at <= length);
    ends.count()
}

#[test]
fn open_segment_cut_at_any_byte_loses_only_the_torn_line() {
    let directory = history();
    let before = files(directory.path());
    let (name, content) = before.last().unwrap();
    assert_eq!(*content, [stored("e", 5), stored("f", 6), stored("g", 7)].concat());
    for cut in 0..=content.len() {
        restore(directory.path(), &before);
        fs::write(directory.path().join(name), &content[..cut]).unwrap();
        let n = n_complete(content, cut);
        let expected = [&BEFORE[..], &LAST[..n]].concat();
        check(&directory, &expected, &format!("cut at {cut}"));
        // The torn line is known to be missing.
        let torn = cut > 0 && content[cut - 1] != b'\n' && content.get(cut) != Some(&b'\n');
        assert_eq!(find(directory.path()).holes.message().is_some(), torn, "cut at {cut}");
    }
}

/// A file system can have made the file longer, and not have written the content.
#[test]
fn open_segment_that_ends_with_zeros_loses_only_the_torn_line() {
    let directory = history();
    let before = files(directory.path());
    let (name, content) = before.last().unwrap();
    for cut in 0..content.len() {
        restore(directory.path(), &before);
        let mut zeroed = content.clone();
        zeroed[cut..].fill(0);
        fs::write(directory.path().join(name), zeroed).unwrap();
        let n = n_complete(content, cut);
        check(&directory, &[&BEFORE[..], &LAST[..n]].concat(), &format!("zeros from {cut}"));
    }
}

#[test]
fn damaged_byte_loses_only_its_line() {
    let directory = history();
    let before = files(directory.path());
    let (name, content) = before.last().unwrap();
    for (at_byte, byte) in (0..content.len()).flat_map(|at| [0, b'X', b'\n'].map(|it| (at, it))) {
        if content[at_byte] == byte {
            continue;
        }
        restore(directory.path(), &before);
        let mut damaged = content.clone();
        damaged[at_byte] = byte;
        fs::write(directory.path().join(name), damaged).unwrap();
        let hit = content[..at_byte].split(|byte| *byte == b'\n').count() - 1;
        let is_newline = content[at_byte] == b'\n';
        let left = LAST.iter().enumerate().filter(|(index, _)| is_newline || *index != hit);
        let left: Vec<&str> = left.map(|(_, id)| *id).collect();
        let expected = [&BEFORE[..], &left].concat();
        check(&directory, &expected, &format!("{byte} at {at_byte}"));
    }
}

/// Whatever is damaged in a closed segment, the others are unharmed, and the damage is reported.
#[test]
fn damaged_byte_of_a_compressed_segment_is_reported() {
    let directory = history();
    let before = files(directory.path());
    let (name, content) = &before[0];
    assert_eq!(Path::new(name).extension().unwrap(), "gz");
    // The header of gzip has bytes without meaning.
    for at_byte in 10..content.len() {
        restore(directory.path(), &before);
        let mut damaged = content.clone();
        damaged[at_byte] ^= 0xff;
        fs::write(directory.path().join(name), damaged).unwrap();
        let found = find(directory.path());
        assert!(found.skipped.damaged > 0, "{at_byte}");
        let left = ids(directory.path());
        assert!(left.ends_with(&["c", "d", "e", "f", "g"].map(str::to_owned)), "{left:?}");
        open(&directory).append(&line("new"), at(5)).unwrap();
        assert_eq!(ids(directory.path()).last().unwrap(), "new");
    }
}

#[test]
fn power_loss_while_a_segment_is_closed_loses_nothing() {
    let directory = history();
    let before = files(directory.path());
    drop(open(&directory));
    let (closed_name, closed) = files(directory.path()).pop().unwrap();
    let all = [&BEFORE[..], &LAST].concat();
    // The compressed file is written under another name ...
    for cut in 0..=closed.len() {
        restore(directory.path(), &before);
        fs::write(directory.path().join(format!("{closed_name}.tmp")), &closed[..cut]).unwrap();
        check(&directory, &all, &format!("compressed up to {cut}"));
    }
    // ... gets its name, and then the plain file is removed.
    restore(directory.path(), &before);
    fs::write(directory.path().join(&closed_name), &closed).unwrap();
    check(&directory, &all, "both files");
    restore(directory.path(), &before);
    fs::remove_file(directory.path().join(&before.last().unwrap().0)).unwrap();
    fs::write(directory.path().join(&closed_name), &closed).unwrap();
    check(&directory, &all, "compressed");
}

/// The file of a run that lost its power before its first record was on disk.
#[test]
fn empty_segment_is_removed() {
    let directory = history();
    let path = directory.path();
    fs::write(path.join("20301123T092107.000Z-2f0e7d5c.jsonl"), "").unwrap();
    check(&directory, &[&BEFORE[..], &LAST].concat(), "empty segment");
    assert!(segments(path).iter().all(|it| fs::metadata(it).unwrap().len() > 0));
    drop(Store::open(path, super::Limits::default(), "", at(9)).unwrap());
}
