//! Appends reports to the history: one write and one fsync each.
//!
//! What was stored stays: a line that could not be written whole is cut off again, and where even
//! that fails the next one goes to another segment, so that nothing is ever glued to it.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    HistoryError,
    compress::{self, compress},
    directory::Directory,
    segment::Segment,
    vacuum::to_remove,
};

/// What a segment is closed after, however small it is: ranges of time skip whole segments.
const SEGMENT_AGE: Duration = Duration::from_hours(24);
/// The largest segment: a reader holds one in memory.
pub(super) const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// One report must fit.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments together.
    pub max_use_bytes: u64,
    /// Age of the last report of a segment; none: as old as there is room for.
    pub max_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_use_bytes: 128 << 20, max_age: None }
    }
}

impl Limits {
    /// The size at which a segment is closed: an eighth of all, as journald has it.
    pub fn segment_bytes(&self) -> u64 {
        (self.max_use_bytes / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }
}

/// A history that is open to write. Only one can be, per directory.
#[derive(Debug)]
pub struct Store {
    directory: Directory,
    limits: Limits,
    boot_id: String,
    current: Option<Current>,
    /// Held as long as the store is.
    _lock: File,
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    segment: Segment,
    file: File,
    bytes: u64,
}

impl Store {
    /// Opens or makes a history, closes what a run before left open, and removes what is too much.
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

    /// Adds one line, with its end. A segment begins with its first line.
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
        let name = current.segment.plain_name();
        let result = current.append(line).map_err(|error| self.directory.failed(&name, error));
        // A torn one is left to itself.
        if result.is_ok() || current.cut_back().is_ok() {
            self.current = Some(current);
        }
        result
    }

    /// Names are by the millisecond: who comes in the same one takes the next.
    fn begin(&self, now: Timestamp) -> Result<Current, HistoryError> {
        let mut start = now;
        loop {
            let segment = Segment::begun(start, &self.boot_id);
            match self.directory.begin(&segment.plain_name()) {
                Ok(file) => {
                    self.directory.sync()?;
                    return Ok(Current { segment, file, bytes: 0 });
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

    /// Closes the current segment. Where there is no room to compress it, it stays as it is.
    fn close(&mut self, now: Timestamp) {
        self.current = None;
        // Whatever cannot be tidied is no reason not to store.
        let _ = self.tidy(now);
    }

    /// Compresses and removes. Only when no segment is being written: we are the only writer.
    fn tidy(&self, now: Timestamp) -> Result<(), HistoryError> {
        for name in self.directory.names()?.iter().filter(|name| compress::is_unfinished(name)) {
            self.directory.remove(name)?;
        }
        for listed in self.directory.segments()? {
            let plain = listed.segment.plain_name();
            if !listed.is_file {
                continue;
            }
            // A compressed one may have its plain one beside it: interrupted between the two names.
            if listed.segment.is_compressed || listed.bytes == 0 {
                self.directory.remove(&plain)?;
            } else {
                // It stays plain and can be read: the next one to tidy tries again.
                let _ = compress(&self.directory, &listed.segment);
            }
        }
        for listed in to_remove(&self.directory.segments()?, &self.limits, now) {
            self.directory.remove(&listed.segment.file_name())?;
        }
        Ok(())
    }
}

impl Current {
    fn is_full(&self, added: u64, limit: u64, now: Timestamp) -> bool {
        let age = now.duration_since(self.segment.start).unsigned_abs();
        self.bytes > 0 && (self.bytes + added > limit || age > SEGMENT_AGE)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.file.write(line)?;
        if written < line.len() {
            // The rest of what fits was written: the disk is full.
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.sync_data()?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Takes back what was written of a line that did not become whole.
    fn cut_back(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)
    }
}
