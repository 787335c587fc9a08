//! Directories and files that another user has prepared.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use super::super::scan::Skipped;
use super::{HistoryError, Limits, Store, at, find, ids, line, open, tempdir};

const PLAIN: &str = "20201123T092107.000Z-2f0e7d5c.jsonl";

#[test]
fn second_writer_of_a_directory_is_refused() {
    let directory = tempdir().unwrap();
    let first = open(&directory);
    let second = Store::open(directory.path(), Limits::default(), "", at(0)).unwrap_err();
    assert!(matches!(second, HistoryError::Locked { .. }) && second.to_string().contains("--dir"));
    assert!(!second.may_pass());
    drop(first);
    open(&directory);
}

#[test]
fn symlink_named_like_a_segment_is_not_followed() {
    let (directory, outside) = (tempdir().unwrap(), tempdir().unwrap());
    let target = outside.path().join("precious");
    fs::write(&target, line("theirs")).unwrap();
    symlink(&target, directory.path().join(PLAIN)).unwrap();
    // Neither read ...
    let findings = find(directory.path());
    assert!(findings.found.is_empty());
    assert_eq!(findings.skipped, Skipped { unreadable: 1, ..Skipped::default() });
    // ... nor written to, compressed or removed: the next name is taken.
    let mut store = open(&directory);
    store.append(&line("ours"), at(0)).unwrap();
    assert_eq!(fs::read(&target).unwrap(), line("theirs"));
    assert!(directory.path().join(PLAIN).is_symlink());
    assert_eq!(ids(directory.path()), ["ours"]);
}

#[test]
fn symlink_named_like_the_lock_is_refused() {
    let (directory, outside) = (tempdir().unwrap(), tempdir().unwrap());
    symlink(outside.path().join("made"), directory.path().join("lock")).unwrap();
    Store::open(directory.path(), Limits::default(), "", at(0)).unwrap_err();
    assert!(!outside.path().join("made").exists());
}

#[test]
fn symlink_named_like_the_unfinished_file_is_replaced() {
    let (directory, outside) = (tempdir().unwrap(), tempdir().unwrap());
    let target = outside.path().join("precious");
    fs::write(&target, "theirs").unwrap();
    symlink(&target, directory.path().join(format!("{PLAIN}.gz.tmp"))).unwrap();
    fs::write(directory.path().join(PLAIN), line("a")).unwrap();
    drop(open(&directory));
    assert_eq!(fs::read(&target).unwrap(), b"theirs");
    assert_eq!(ids(directory.path()), ["a"]);
}

#[test]
fn fifo_or_directory_named_like_a_segment_is_skipped() {
    let directory = tempdir().unwrap();
    let fifo = directory.path().join(PLAIN);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::create_dir(directory.path().join("20201123T092108.000Z-2f0e7d5c.jsonl.gz")).unwrap();
    open(&directory).append(&line("a"), at(0)).unwrap();
    let findings = find(directory.path());
    assert_eq!((findings.found.len(), findings.skipped.unreadable), (1, 2));
}

#[test]
fn world_writable_directory_is_refused() {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let error = Store::open(directory.path(), Limits::default(), "", at(0)).unwrap_err();
    assert!(matches!(error, HistoryError::Unsafe { .. }), "{error}");
    assert!(error.to_string().contains("chmod o-w"));
}

#[test]
fn boot_id_with_slashes_stays_in_the_directory() {
    let directory = tempdir().unwrap();
    let mut store = Store::open(directory.path(), Limits::default(), "../../etc/x", at(0)).unwrap();
    store.append(&line("a"), at(0)).unwrap();
    assert_eq!(ids(directory.path()), ["a"]);
}

#[test]
fn file_instead_of_a_directory_fails() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Store::open(&path, Limits::default(), "", at(0)).unwrap_err();
    assert!(!error.may_pass(), "{error}");
    let HistoryError::Open { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::NotADirectory);
}
