//! Appends reports to the history, with one write and one fsync each.

use std::{fs::File, io, path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    HistoryError,
    compress::{self, compress},
    directory::Directory,
    segment::{OpenSegment, Segment},
    vacuum::to_remove,
};

/// A reader holds a whole segment in memory.
pub(super) const MAX_SEGMENT_BYTES: u64 = 8 << 20;
/// Room for one large report.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

/// How many reports are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of all segments together, bytes.
    pub max_use_bytes: u64,
    /// Age of the last report in a segment. `None`: no limit.
    pub max_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_use_bytes: 128 << 20, max_age: None }
    }
}

impl Limits {
    /// The size at which a segment is closed: an eighth of all, as in journald.
    pub fn segment_bytes(&self) -> u64 {
        (self.max_use_bytes / 8).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES)
    }
}

/// A history that is open for writing, by one process at a time.
#[derive(Debug)]
pub struct Store {
    directory: Directory,
    limits: Limits,
    boot_id: String,
    current: Option<OpenSegment>,
    _lock: File,
}

impl Store {
    /// Opens or creates a history, closes the segment of the previous run, and removes the segments
    /// that exceed the limits.
    pub fn open(
        path: &Path,
        limits: Limits,
        boot_id: &str,
        now: Timestamp,
    ) -> Result<Self, HistoryError> {
        let directory = Directory::create(path)?;
        let lock = directory.lock()?;
        let store =
            Self { directory, limits, boot_id: boot_id.to_owned(), current: None, _lock: lock };
        store.tidy(now)?;
        Ok(store)
    }

    /// Appends one line, given with its newline. A segment is created for its first line.
    pub fn append(&mut self, line: &[u8], now: Timestamp) -> Result<(), HistoryError> {
        let added = line.len() as u64;
        let limit = self.limits.segment_bytes();
        if self.current.as_ref().is_some_and(|current| current.is_full(added, limit, now)) {
            self.close(now);
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin(now)?,
        };
        let name = current.name();
        let result = current.append(line).map_err(|error| self.directory.failed(&name, error));
        // If it still ends with an incomplete line, nothing is appended to it any more.
        if result.is_ok() || current.cut_back().is_ok() {
            self.current = Some(current);
        }
        result
    }

    /// A name has milliseconds. If it is taken, the next millisecond is used.
    fn begin(&self, now: Timestamp) -> Result<OpenSegment, HistoryError> {
        let mut start = now;
        loop {
            let segment = Segment::begun(start, &self.boot_id);
            match self.directory.begin(&segment.plain_name()) {
                Ok(file) => {
                    self.directory.sync()?;
                    return Ok(OpenSegment::new(segment, file));
                }
                Err(HistoryError::Segment { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    start += Duration::from_millis(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the current segment. If there is no room to compress it, it stays plain.
    fn close(&mut self, now: Timestamp) {
        self.current = None;
        // A failure does not stop storing.
        let _ = self.tidy(now);
    }

    /// Compresses and removes segments. The caller must not have a segment open.
    fn tidy(&self, now: Timestamp) -> Result<(), HistoryError> {
        for name in self.directory.names()?.iter().filter(|name| compress::is_unfinished(name)) {
            self.directory.remove(name)?;
        }
        for listed in self.directory.segments()? {
            let plain = listed.segment.plain_name();
            if !listed.is_file {
                continue;
            }
            // If compression was interrupted at the end, the plain file still exists.
            if listed.segment.is_compressed || listed.bytes == 0 {
                self.directory.remove(&plain)?;
            } else {
                // If this fails, it stays plain and readable, and the next call tries again.
                let _ = compress(&self.directory, &listed.segment);
            }
        }
        for listed in to_remove(&self.directory.segments()?, &self.limits, now) {
            self.directory.remove(&listed.segment.file_name())?;
        }
        Ok(())
    }
}
