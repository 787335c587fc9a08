//! Compresses closed segments with gzip, so that zcat(1) and zgrep(1) read them.
//!
//! The compressed file is written under a name that readers ignore, and renamed once it is complete
//! and on disk. So a reader finds each segment at any moment.

use std::{
    fs::{File, FileTimes},
    io::{self, BufReader},
};

use flate2::{Compression, bufread::GzEncoder};

use super::{HistoryError, directory::Directory, segment::Segment};

/// Ends the name of a file that is not complete yet.
const UNFINISHED: &str = ".tmp";

/// Compresses a plain segment. If that fails, the plain file stays.
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

/// Keeps the time of the last report: readers skip a file if it is too old for their query.
fn copy(from: &File, mut to: &File) -> io::Result<()> {
    let modified = from.metadata()?.modified()?;
    let mut encoder = GzEncoder::new(BufReader::new(from), Compression::default());
    io::copy(&mut encoder, &mut to)?;
    to.set_times(FileTimes::new().set_modified(modified))?;
    to.sync_all()
}

/// Whether the file was left by an interrupted compression.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| Segment::parse(name).is_some())
}
