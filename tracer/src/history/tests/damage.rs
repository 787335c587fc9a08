//! Damaged files and full disks.

use std::{fs, io::Write, process::Command};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::super::scan::Skipped;
use super::{Limits, Store, at, find, ids, line, open, segments, sized_line, tempdir};

const PLAIN: &str = "20201123T092107.000Z-2f0e7d5c.jsonl";
const CLOSED: &str = "20201123T092107.000Z-2f0e7d5c.jsonl.gz";

#[test]
fn file_cut_at_any_byte_gives_every_complete_record_before() {
    let content = ["a", "b", "c"].map(line).concat();
    let ends: Vec<usize> =
        content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let directory = tempdir().unwrap();
    let file = directory.path().join(PLAIN);
    for cut in 0..=content.len() {
        fs::write(&file, &content[..cut]).unwrap();
        let findings = find(directory.path());
        // A record is complete without its newline.
        let n_complete = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(findings.found.len(), n_complete, "cut at {cut}");
        assert_eq!(findings.skipped, Skipped::default(), "cut at {cut}");
    }
}

#[test]
fn incomplete_line_is_not_continued_by_the_next_run() {
    let content = ["a", "b"].map(line).concat();
    for cut in 0..content.len() {
        let directory = tempdir().unwrap();
        fs::write(directory.path().join(PLAIN), &content[..cut]).unwrap();
        let mut store = open(&directory);
        store.append(&line("new"), at(5)).unwrap();
        let found = ids(directory.path());
        let n_complete =
            usize::from(cut + 1 >= line("a").len()) + usize::from(cut + 1 >= content.len());
        assert_eq!(found.len(), n_complete + 1, "cut at {cut}: {found:?}");
        assert_eq!(found.last().unwrap(), "new");
    }
}

#[test]
fn cut_compressed_segment_gives_every_record_before_the_cut() {
    let directory = tempdir().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&["a", "b", "c"].map(line).concat()).unwrap();
    let packed = encoder.finish().unwrap();
    let mut max_found = 0;
    for cut in 0..packed.len() {
        fs::write(directory.path().join(CLOSED), &packed[..cut]).unwrap();
        let findings = find(directory.path());
        max_found = max_found.max(findings.found.len());
        assert_eq!(findings.skipped.damaged, 1, "cut at {cut}");
    }
    // A cut in the checksum leaves all records.
    assert_eq!(max_found, 3);
    fs::write(directory.path().join(CLOSED), &packed).unwrap();
    assert_eq!(ids(directory.path()), ["a", "b", "c"]);
}

#[test]
fn damaged_and_newer_lines_are_counted_and_others_found() {
    let directory = tempdir().unwrap();
    let newer = b"{\"type\":\"oom\",\"schema\":2,\"id\":7}\n".to_vec();
    let foreign = b"not json at all\n".to_vec();
    let binary = b"\x00\xff\xfe{}\n".to_vec();
    let content = [line("a"), newer.clone(), foreign, line("b"), binary, newer, line("c")].concat();
    fs::write(directory.path().join(PLAIN), content).unwrap();
    let findings = find(directory.path());
    assert_eq!(findings.found.len(), 3);
    assert_eq!(findings.skipped, Skipped { damaged: 2, newer: 2, ..Skipped::default() });
    let words = "skipped 2 damaged lines, 2 records of a newer oomwhy";
    assert_eq!(findings.skipped.message().as_deref(), Some(words));
}

#[test]
fn interrupted_compression_is_cleaned_up() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    open(&directory).append(&line("a"), at(0)).unwrap();
    drop(open(&directory));
    // Interrupted before the plain file was removed: its report is found once.
    fs::write(path.join(PLAIN), line("a")).unwrap();
    fs::write(path.join(format!("{CLOSED}.tmp")), b"half").unwrap();
    assert_eq!(find(path).found.len(), 1);
    drop(open(&directory));
    assert_eq!(segments(path), [path.join(CLOSED)]);
    assert_eq!(ids(path), ["a"]);
}

proptest! {
    #[test]
    fn flipped_bits_damage_only_their_lines(
        flips in proptest::collection::vec(0..2_000_usize, 1..9),
        packed: bool,
    ) {
        let directory = tempdir().unwrap();
        let lines: Vec<Vec<u8>> = (0..20).map(|index| line(&index.to_string())).collect();
        let mut content = lines.concat();
        if packed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&content).unwrap();
            content = encoder.finish().unwrap();
        }
        for flip in &flips {
            let at = flip / 8 % content.len();
            content[at] ^= 1 << (flip % 8);
        }
        fs::write(directory.path().join(if packed { CLOSED } else { PLAIN }), &content).unwrap();
        let findings = find(directory.path());
        // Each flip damages a line, or two if it hits the newline between them.
        prop_assert!(packed || findings.found.len() + 2 * flips.len() >= 20);
        // A new run can still store.
        open(&directory).append(&line("new"), at(5)).unwrap();
        prop_assert!(existing_ids(directory.path()).contains(&"new".to_owned()));
    }

    #[test]
    fn random_content_does_not_panic(content: Vec<u8>, packed: bool) {
        let directory = tempdir().unwrap();
        fs::write(directory.path().join(if packed { CLOSED } else { PLAIN }), &content).unwrap();
        find(directory.path());
    }
}

fn existing_ids(path: &std::path::Path) -> Vec<String> {
    find(path).found.into_iter().filter_map(|found| found.summary.id).collect()
}

/// Needs root to mount a file system. Without root, the test does nothing; the guest has root.
#[test]
fn full_disk_keeps_stored_reports_and_takes_more_when_there_is_room() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "oomwhy"])
        .arg(path)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let _unmount = Unmount(path);
    let mut store = Store::open(path, Limits::default(), "", at(0)).unwrap();
    let mut stored = 0;
    let error = loop {
        match store.append(&sized_line(&format!("{stored:03}"), 10_000), at(stored)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 200);
    };
    assert!(error.may_pass(), "{error}");
    for _ in 0..10 {
        assert!(store.append(&sized_line("no", 10_000), at(stored)).is_err());
        let findings = find(path);
        assert_eq!(findings.found.len(), usize::try_from(stored).unwrap());
        assert_eq!(findings.skipped, Skipped::default());
        // No partial line.
        assert!(fs::read(segments(path).last().unwrap()).unwrap().ends_with(b"\n"));
    }
    fs::write(path.join("ballast"), "").unwrap();
    // Fill it with shorter reports too, then make room.
    while store.append(&line("short"), at(stored)).is_ok() {}
    let full = find(path).found.len();
    let first = segments(path)[0].clone();
    fs::remove_file(first).unwrap();
    drop(store);
    let mut store = Store::open(path, Limits::default(), "", at(stored)).unwrap();
    store.append(&line("again"), at(stored + 1)).unwrap();
    assert!(full > 0 && ids(path).contains(&"again".to_owned()));
}

struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
