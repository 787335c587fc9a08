//! Writes and reads a history: stored reports are found, whatever happens meanwhile.

mod attacks;
mod clock;
mod damage;
mod life;
mod numbers;
mod power_loss;
mod space;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tempfile::{TempDir, tempdir};

use super::{
    HistoryError, checksum,
    moment::Moment,
    query::Query,
    scan::{History, SearchResult},
    store::{Limits, Store},
};

/// So many seconds after the time at which all tests begin.
fn time(second: i64) -> Timestamp {
    "2020-11-23T09:21:07Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

/// The moment at this time, if nobody sets the clock.
fn at(second: i64) -> Moment {
    // The tests begin a year after the boot.
    let since_boot = Duration::from_secs((second + 31_536_000).try_into().unwrap());
    Moment { wall: time(second), since_boot }
}

/// A line as it is stored.
fn stored(id: &str, seq: u64) -> Vec<u8> {
    checksum::seal(&line(id), seq).unwrap()
}

/// The shortest possible report with this id.
fn line(id: &str) -> Vec<u8> {
    sized_line(id, 0)
}

/// The same, longer by `more` bytes.
fn sized_line(id: &str, more: usize) -> Vec<u8> {
    let message = "x".repeat(more);
    format!(r#"{{"type":"oom","schema":1,"id":"{id}","message":"{message}","victims":[]}}"#)
        .into_bytes()
        .into_iter()
        .chain([b'\n'])
        .collect()
}

fn open(directory: &TempDir) -> Store {
    Store::open(directory.path(), Limits::default(), "2f0e7d5c-3f5f", at(0)).unwrap()
}

fn find(path: &Path) -> SearchResult {
    History::open(path).unwrap().find(&Query::default(), usize::MAX)
}

/// The ids of all records.
fn ids(path: &Path) -> Vec<String> {
    let found = find(path).found;
    found.into_iter().map(|found| found.summary.id.unwrap()).collect()
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap() != "lock").collect();
    paths.sort();
    paths
}
