//! Compresses closed segments with gzip, so that zcat(1) and zgrep(1) read them.
//!
//! The compressed file is written under a name that readers ignore, and renamed once it is complete
//! and on disk. So a reader finds each segment at any moment.

use std::{
    fs::{File, FileTimes},
    io::{self, BufReader},
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use flate2::{Compression, bufread::GzEncoder};
use jiff::Timestamp;

use super::{
    HistoryError,
    content::{self, FoundLine},
    directory::Directory,
    segment::Segment,
    summary::Summary,
};

/// Ends the name of a file that is not complete yet.
const UNFINISHED: &str = ".tmp";

/// Compresses a plain segment. If that fails, the plain file stays.
pub(crate) fn compress(directory: &Directory, segment: &Segment) -> Result<(), HistoryError> {
    let (plain, closed) = (segment.plain_name(), segment.compressed_name());
    let unfinished = closed.clone() + UNFINISHED;
    directory.remove(&unfinished)?;
    let latest = latest_record(directory.read(&plain)?);
    let from = directory.read(&plain)?;
    let to = directory.begin(&unfinished)?;
    if let Err(error) = copy(&from, &to, latest) {
        directory.remove(&unfinished)?;
        return Err(directory.failed(&unfinished, error));
    }
    directory.rename(&unfinished, &closed)?;
    directory.sync()?;
    directory.remove(&plain)
}

/// The latest time of a record. It can be later than the last write, if the clock was set back.
fn latest_record(from: File) -> Option<SystemTime> {
    let mut latest: Option<Timestamp> = None;
    content::each_line(&mut content::of(from), &mut Vec::new(), |_, line| {
        if let FoundLine::Complete(text) = line {
            let summary = Summary::parse(text).ok();
            latest = latest.max(summary.and_then(|summary| summary.time()));
        }
        ControlFlow::Continue(())
    });
    let seconds = Duration::from_secs(u64::try_from(latest?.as_second()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// Keeps the time of the last write or of the latest record: readers skip a file if it is too old
/// for their query.
fn copy(from: &File, mut to: &File, latest: Option<SystemTime>) -> io::Result<()> {
    let written = from.metadata()?.modified()?;
    let modified = latest.map_or(written, |latest| latest.max(written));
    let mut encoder = GzEncoder::new(BufReader::new(from), Compression::default());
    io::copy(&mut encoder, &mut to)?;
    to.set_times(FileTimes::new().set_modified(modified))?;
    to.sync_all()
}

/// Whether the file was left by an interrupted compression.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| Segment::parse(name).is_some())
}
