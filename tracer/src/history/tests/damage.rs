//! Files that are not as they were written, and disks that do not take any more.

use std::{fs, io::Write, process::Command};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::super::scan::Skipped;
use super::{Limits, Store, at, find, ids, line, open, segments, sized_line, tempdir};

const PLAIN: &str = "20201123T092107.000Z-2f0e7d5c.jsonl";
const CLOSED: &str = "20201123T092107.000Z-2f0e7d5c.jsonl.gz";

#[test]
fn a_file_cut_at_any_byte_gives_every_whole_record_before_the_cut() {
    let content = ["a", "b", "c"].map(line).concat();
    let ends: Vec<usize> =
        content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let directory = tempdir().unwrap();
    let file = directory.path().join(PLAIN);
    for cut in 0..=content.len() {
        fs::write(&file, &content[..cut]).unwrap();
        let findings = find(directory.path());
        // A record is whole without its newline.
        let n_whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(findings.found.len(), n_whole, "cut at {cut}");
        assert_eq!(findings.skipped, Skipped::default(), "cut at {cut}");
    }
}

#[test]
fn a_torn_line_is_not_glued_to_the_next_run() {
    let content = ["a", "b"].map(line).concat();
    for cut in 0..content.len() {
        let directory = tempdir().unwrap();
        fs::write(directory.path().join(PLAIN), &content[..cut]).unwrap();
        let mut store = open(&directory);
        store.append(&line("new"), at(5)).unwrap();
        let found = ids(directory.path());
        let whole = usize::from(cut + 1 >= line("a").len()) + usize::from(cut + 1 >= content.len());
        assert_eq!(found.len(), whole + 1, "cut at {cut}: {found:?}");
        assert_eq!(found.last().unwrap(), "new");
    }
}

#[test]
fn a_closed_segment_that_is_cut_gives_what_can_be_unpacked() {
    let directory = tempdir().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&["a", "b", "c"].map(line).concat()).unwrap();
    let packed = encoder.finish().unwrap();
    let mut most = 0;
    for cut in 0..packed.len() {
        fs::write(directory.path().join(CLOSED), &packed[..cut]).unwrap();
        let findings = find(directory.path());
        most = most.max(findings.found.len());
        assert_eq!(findings.skipped.damaged, 1, "cut at {cut}");
    }
    // Cut in the check sum, all is there already.
    assert_eq!(most, 3);
    fs::write(directory.path().join(CLOSED), &packed).unwrap();
    assert_eq!(ids(directory.path()), ["a", "b", "c"]);
}

#[test]
fn damaged_lines_and_newer_records_are_counted_and_the_others_found() {
    let directory = tempdir().unwrap();
    let newer = b"{\"type\":\"oom\",\"schema\":2,\"id\":7}\n".to_vec();
    let foreign = b"not json at all\n".to_vec();
    let binary = b"\x00\xff\xfe{}\n".to_vec();
    let content = [line("a"), newer.clone(), foreign, line("b"), binary, newer, line("c")].concat();
    fs::write(directory.path().join(PLAIN), content).unwrap();
    let findings = find(directory.path());
    assert_eq!(findings.found.len(), 3);
    assert_eq!(findings.skipped, Skipped { damaged: 2, newer: 2, unreadable: 0 });
    let words = "skipped 2 damaged lines, 2 records of a newer oomwhy";
    assert_eq!(findings.skipped.say().as_deref(), Some(words));
}

#[test]
fn leftovers_of_an_interrupted_compression_do_no_harm() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    open(&directory).append(&line("a"), at(0)).unwrap();
    drop(open(&directory));
    // Interrupted before the plain one was removed: it is there once.
    fs::write(path.join(PLAIN), line("a")).unwrap();
    fs::write(path.join(format!("{CLOSED}.tmp")), b"half").unwrap();
    assert_eq!(find(path).found.len(), 1);
    drop(open(&directory));
    assert_eq!(segments(path), [path.join(CLOSED)]);
    assert_eq!(ids(path), ["a"]);
}

proptest! {
    #[test]
    fn flipped_bits_cost_no_more_than_what_they_hit(flips in proptest::collection::vec(0..2_000_usize, 1..9), packed: bool) {
        let directory = tempdir().unwrap();
        let mut content = (0..20).map(|index| line(&index.to_string())).collect::<Vec<_>>().concat();
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
        // Each flip damages a line, or two where it hits what is between.
        prop_assert!(packed || findings.found.len() + 2 * flips.len() >= 20);
        // A new run takes it as it is, and stores.
        open(&directory).append(&line("new"), at(5)).unwrap();
        prop_assert!(ids_that_are(directory.path()).contains(&"new".to_owned()));
    }

    #[test]
    fn no_content_is_too_odd(content: Vec<u8>, packed: bool) {
        let directory = tempdir().unwrap();
        fs::write(directory.path().join(if packed { CLOSED } else { PLAIN }), &content).unwrap();
        find(directory.path());
    }
}

fn ids_that_are(path: &std::path::Path) -> Vec<String> {
    find(path).found.into_iter().filter_map(|found| found.summary.id).collect()
}

/// Needs root, for the file system; the guest runs it where the tests do not have it.
#[test]
fn a_full_disk_loses_nothing_that_was_stored_and_takes_more_when_there_is_room() {
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
    // A shorter one may still fit; then make room.
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
