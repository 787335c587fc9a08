//! Closed segments are compressed: gzip, which zgrep, zcat and jq's friends read.
//!
//! The compressed one is made under a name that no reader looks at, and takes its place once it is
//! whole and on disk: a reader sees the segment at any moment.

use std::{
    fs::{File, FileTimes},
    io::{self, BufReader},
};

use flate2::{Compression, bufread::GzEncoder};

use super::{HistoryError, directory::Directory, segment::Segment};

/// What a file has behind its name while it is made.
const UNFINISHED: &str = ".tmp";

/// Compresses a plain segment. When that fails, the plain one stays.
pub(crate) fn compress(directory: &Directory, segment: &Segment) -> Result<(), HistoryError> {
    let (plain, closed) = (segment.plain_name(), segment.compressed_name());
    let unfinished = closed.clone() + UNFINISHED;
    directory.remove(&unfinished)?;
    let from = directory.read(&plain)?;
    let to = directory.begin(&unfinished)?;
    if let Err(error) = copy(&from, &to) {
        directory.remove(&unfinished)?;
        return Err(directory.failed(&unfinished, error));
    }
    directory.rename(&unfinished, &closed)?;
    directory.sync()?;
    directory.remove(&plain)
}

/// With the time of the last report, by which readers know whether they need it.
fn copy(from: &File, mut to: &File) -> io::Result<()> {
    let modified = from.metadata()?.modified()?;
    let mut encoder = GzEncoder::new(BufReader::new(from), Compression::default());
    io::copy(&mut encoder, &mut to)?;
    to.set_times(FileTimes::new().set_modified(modified))?;
    to.sync_all()
}

/// Whether it is what is left of a compression that was interrupted.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| Segment::parse(name).is_some())
}
