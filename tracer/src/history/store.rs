//! Appends records to the history, with one write and one fsync each.

use std::{fs::File, io, path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    HistoryError,
    checksum::seal,
    compress::{self, compress},
    directory::Directory,
    free_space::KeepFree,
    last_seq::last_seq,
    moment::Moment,
    segment::{OpenSegment, Segment},
    vacuum::{exceeding, expired},
};
use crate::compose::size_limit::MAX_REPORT_BYTES;

/// A reader holds the lines of a whole segment in memory, if it prints them in another order.
pub(super) const MAX_SEGMENT_BYTES: u64 = 8 << 20;
/// Room for one large report.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// A segment is closed at this age, however small it is: queries for a time range skip segments.
const MAX_SEGMENT_AGE: Duration = Duration::from_hours(24);
/// A segment covers at most this part of `max_age`, because it is removed as a whole.
const SEGMENTS_PER_MAX_AGE: u32 = 4;
/// Length of a line, with its newline. Message queues and readers of lines refuse longer ones.
const MAX_LINE_BYTES: usize = MAX_REPORT_BYTES;

/// How many reports are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of all segments together, bytes.
    pub max_use_bytes: u64,
    /// Age of the last report in a segment. `None`: no limit.
    pub max_age: Option<Duration>,
    /// Space of the file system that the history leaves to others. `None`: it may fill it.
    pub keep_free: Option<KeepFree>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_use_bytes: 128 << 20, max_age: None, keep_free: None }
    }
}

impl Limits {
    /// The size at which a segment is closed: an eighth of all, as in journald.
    pub fn segment_bytes(&self) -> u64 {
        (self.max_use_bytes / 8).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES)
    }

    fn segment_age(&self) -> Duration {
        self.max_age.map_or(MAX_SEGMENT_AGE, |age| MAX_SEGMENT_AGE.min(age / SEGMENTS_PER_MAX_AGE))
    }
}

/// A history that is open for writing, by one process at a time.
#[derive(Debug)]
pub struct Store {
    directory: Directory,
    limits: Limits,
    boot_id: String,
    opened: Moment,
    /// The number of the next record.
    next_seq: u64,
    /// Bytes of removed segments whose place new records may take, while the file system has less
    /// free space than is to be kept.
    freed_bytes: u64,
    current: Option<OpenSegment>,
    _lock: File,
}

impl Store {
    /// Opens or creates a history, closes the segment of the previous run, and removes the segments
    /// that exceed the limit of size.
    pub fn open(
        path: &Path,
        limits: Limits,
        boot_id: &str,
        now: Moment,
    ) -> Result<Self, HistoryError> {
        let directory = Directory::create(path)?;
        let lock = directory.lock()?;
        let last_seq = last_seq(&directory, &directory.segments()?);
        let store = Self {
            directory,
            limits,
            boot_id: boot_id.to_owned(),
            opened: now,
            next_seq: last_seq.saturating_add(1),
            freed_bytes: 0,
            current: None,
            _lock: lock,
        };
        store.tidy()?;
        Ok(store)
    }

    /// Appends a record: a JSON object without the key `seq`. It gets the next number, which stays
    /// unused if this fails. A segment is created for its first record.
    pub fn append(&mut self, record: &[u8], now: Moment) -> Result<(), HistoryError> {
        let line = seal(record, self.next_seq);
        self.skip(1);
        let line = line.ok_or(HistoryError::Record { why: "it is no JSON object".to_owned() })?;
        if line.len() > MAX_LINE_BYTES {
            let why = format!("its line has {} bytes, and {MAX_LINE_BYTES} at most", line.len());
            return Err(HistoryError::Record { why });
        }
        self.append_line(&line, now)
    }

    /// Leaves numbers unused, because their records were lost before they came here.
    pub fn skip(&mut self, n_records: u64) {
        self.next_seq = self.next_seq.saturating_add(n_records);
    }

    fn append_line(&mut self, line: &[u8], now: Moment) -> Result<(), HistoryError> {
        let added = line.len() as u64;
        let (max_bytes, max_age) = (self.limits.segment_bytes(), self.limits.segment_age());
        let is_full = |current: &OpenSegment| {
            !current.has_room(added, max_bytes) || current.is_older_than(max_age, &now)
        };
        if self.current.as_ref().is_some_and(is_full) {
            self.close();
        }
        self.make_room(added)?;
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

    /// Removes the segments that are too old. A segment that was open for long is closed before, so
    /// that it can be removed later.
    pub fn expire(&mut self, now: Moment) -> Result<(), HistoryError> {
        let max_age = self.limits.segment_age();
        if self.current.as_ref().is_some_and(|current| current.is_older_than(max_age, &now)) {
            self.close();
        }
        let Some(max_age) = self.limits.max_age else {
            return Ok(());
        };
        let segments = self.directory.segments()?;
        for listed in expired(&segments, max_age, now.steady_wall(&self.opened)) {
            self.directory.remove(&listed.segment.file_name())?;
        }
        Ok(())
    }

    /// While the file system has too little free space, new records take the place of the oldest
    /// ones. So the history does not grow. But it does not shrink either: another program that
    /// fills the disk must not delete it.
    fn make_room(&mut self, added: u64) -> Result<(), HistoryError> {
        let Some(keep_free) = self.limits.keep_free else {
            return Ok(());
        };
        if keep_free.allows(self.directory.space()?, added) {
            self.freed_bytes = 0;
            return Ok(());
        }
        while self.freed_bytes < added {
            let segments = self.directory.segments()?;
            let mut files = segments.iter().filter(|listed| listed.is_file);
            // The newest one stays.
            let (Some(oldest), Some(_)) = (files.next(), files.next()) else {
                return Err(self.directory.is_short());
            };
            self.directory.remove(&oldest.segment.file_name())?;
            self.freed_bytes += oldest.bytes;
        }
        self.freed_bytes -= added;
        Ok(())
    }

    /// A new segment begins after the newest one, even if the clock was set back. If its name is
    /// taken, the next millisecond is used.
    fn begin(&self, now: Moment) -> Result<OpenSegment, HistoryError> {
        const STEP: Duration = Duration::from_millis(1);
        let newest = self.directory.segments()?.last().map(|listed| listed.segment.start + STEP);
        let mut start: Timestamp = newest.map_or(now.wall, |newest| newest.max(now.wall));
        loop {
            let segment = Segment::begun(start, &self.boot_id);
            match self.directory.begin(&segment.plain_name()) {
                Ok(file) => {
                    self.directory.sync()?;
                    return Ok(OpenSegment::new(segment, file, now));
                }
                Err(HistoryError::Segment { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    start += STEP;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the current segment. If there is no room to compress it, it stays plain.
    fn close(&mut self) {
        self.current = None;
        // A failure does not stop storing.
        let _ = self.tidy();
    }

    /// Compresses segments, and removes those for which there is no room. The caller must not have
    /// a segment open.
    fn tidy(&self) -> Result<(), HistoryError> {
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
        for listed in exceeding(&self.directory.segments()?, &self.limits) {
            self.directory.remove(&listed.segment.file_name())?;
        }
        Ok(())
    }
}
