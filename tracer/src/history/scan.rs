//! Reads the history, while another process may write it.
//!
//! No content of a file stops the reading: damaged lines and those of a later version are counted.
//! A last line without its newline is being written, or was cut off, and is skipped.

use std::{
    cmp::Reverse,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufReader, Read},
    num::NonZeroUsize,
    ops::Range,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use super::{
    HistoryError,
    directory::{Directory, ListedSegment},
    query::Query,
    segment::Segment,
    store::MAX_SEGMENT_BYTES,
    summary::{Summary, UnreadableLine},
};
use crate::{
    host::line_reader::{Line, read_line},
    model::report::MAX_RECORD_BYTES,
};

/// A segment with more content than this was not written by this program, and is cut.
const MAX_CONTENT_BYTES: u64 = 3 * MAX_SEGMENT_BYTES;
/// More threads do not help, because they share one disk.
const MAX_THREADS: usize = 4;

/// A history that is open for reading.
#[derive(Debug)]
pub(crate) struct History {
    directory: Directory,
    /// The segments that there were when it was opened.
    listed: Vec<ListedSegment>,
}

#[derive(Debug, Default)]
pub(crate) struct SearchResult<T = Summary> {
    /// The records that match, oldest first.
    pub found: Vec<FoundRecord<T>>,
    pub skipped: Skipped,
}

/// A record that matches, and the position of its line.
#[derive(Clone, Debug)]
pub(crate) struct FoundRecord<T = Summary> {
    pub summary: T,
    /// By which it is sorted.
    time: Timestamp,
    /// The number of its segment in the history, and where its line begins there.
    place: (u32, u32),
    length: u32,
    /// Of its id.
    hash: Option<u64>,
}

impl<T> FoundRecord<T> {
    fn line(&self) -> Range<usize> {
        let start = self.place.1 as usize;
        start..start + self.length as usize
    }
}

/// The part of a matching record that a search keeps.
pub(crate) trait Keep: Send {
    /// The memory of all records that a search keeps.
    const MAX_BYTES: usize;

    fn of(summary: Summary) -> Self;

    /// Memory for it outside of the value itself.
    fn heap_bytes(&self) -> usize;
}

/// The memory for its row of a table, while a list is printed.
const ROW_BYTES: usize = 600;

impl Keep for Summary {
    const MAX_BYTES: usize = 44 << 20;

    fn of(summary: Summary) -> Self {
        summary.trimmed()
    }

    fn heap_bytes(&self) -> usize {
        ROW_BYTES + self.heap_bytes()
    }
}

/// Only its position.
impl Keep for () {
    /// A segment is in memory, too, while its lines are printed.
    const MAX_BYTES: usize = 20 << 20;

    fn of(_summary: Summary) -> Self {}

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Counts of the records and segments that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Damaged lines, or ends of segments.
    pub damaged: u64,
    /// Records of a later version.
    pub newer: u64,
    /// Segments that are not regular files, or may not be read.
    pub unreadable: u64,
    /// Those of them for which a permission is missing.
    pub denied: u64,
    /// The oldest records that match, if all of them would take too much memory.
    pub older: u64,
}

impl History {
    /// Opens the history in a directory. Fails with [`HistoryError::Absent`] if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        let absent = || HistoryError::Absent { path: path.to_owned() };
        let directory = match Directory::open(path) {
            Err(HistoryError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(absent());
            }
            opened => opened?,
        };
        if !directory.has_history()? {
            return Err(absent());
        }
        Ok(Self { listed: directory.segments()?, directory })
    }

    /// The newest records that match, at most `max_records` of them. If a report was stored several
    /// times, the latest record counts.
    pub(crate) fn find<T: Keep>(&self, query: &Query, max_records: usize) -> SearchResult<T> {
        let kept = Mutex::new(Kept::new(max_records, T::MAX_BYTES));
        let mut skipped = self.read_all(query, &kept);
        let (found, n_dropped) = kept.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        skipped.older = n_dropped;
        SearchResult { found, skipped }
    }

    /// Calls `each` with the lines of records, in this order and without newlines. Records in a
    /// segment that was removed meanwhile are left out.
    pub(crate) fn lines<T, E>(
        &self,
        found: &[FoundRecord<T>],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open: Option<(u32, Vec<u8>)> = None;
        for it in found {
            let (number, _) = it.place;
            if open.as_ref().is_none_or(|(open, _)| *open != number) {
                drop(open.take());
                let listed = self.listed.get(number as usize);
                let content = listed.map(|listed| self.content(&listed.segment));
                open = Some((number, content.and_then(Result::ok).unwrap_or_default()));
            }
            let content = open.as_ref().map_or(&[][..], |(_, content)| content);
            if let Some(line) = content.get(it.line()) {
                each(line)?;
            }
        }
        Ok(())
    }

    /// Searches segments in parallel.
    fn read_all<T: Keep>(&self, query: &Query, kept: &Mutex<Kept<T>>) -> Skipped {
        let next = AtomicU32::new(0);
        let work = || {
            let mut skipped = Skipped::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(listed) = self.listed.get(number as usize) else {
                    return skipped;
                };
                if may_have(listed, query) {
                    let start = listed.segment.start;
                    let search = Search { number, start, query, kept };
                    self.read(&listed.segment, &search, &mut skipped);
                }
            }
        };
        let n_cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = n_cpus.min(MAX_THREADS).min(self.listed.len());
        thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
            let mut skipped = work();
            // Joining fails only if the thread panicked. Then its counts are missing.
            others.into_iter().flat_map(thread::ScopedJoinHandle::join).for_each(|it| {
                skipped.add(it);
            });
            skipped
        })
    }

    fn read<T: Keep>(&self, segment: &Segment, search: &Search<'_, T>, skipped: &mut Skipped) {
        let searched = self
            .open_content(segment)
            .map(|content| search.lines(BufReader::with_capacity(1 << 16, content), skipped));
        match searched {
            Ok(is_complete) => skipped.damaged += u64::from(!is_complete),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                skipped.unreadable += 1;
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                skipped.denied += u64::from(is_denied);
            }
        }
    }

    /// The content of a segment, as much as can be read.
    fn content(&self, segment: &Segment) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // The part before damage has readable lines.
        let _ = self.open_content(segment)?.read_to_end(&mut content);
        Ok(content)
    }

    fn open_content(&self, segment: &Segment) -> io::Result<io::Take<Box<dyn Read>>> {
        let (file, is_compressed) = self.open_segment(segment)?;
        let content: Box<dyn Read> = if is_compressed {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)))
        } else {
            Box::new(file)
        };
        Ok(content.take(MAX_CONTENT_BYTES))
    }

    /// Opens a segment by its current name: it may have been closed after it was listed.
    fn open_segment(&self, segment: &Segment) -> io::Result<(File, bool)> {
        let open = |name: &str| match self.directory.read(name) {
            Ok(file) => Ok(file),
            Err(HistoryError::Segment { source, .. }) => Err(source),
            Err(error) => Err(io::Error::other(error)),
        };
        match open(&segment.file_name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.is_compressed => {
                Ok((open(&segment.compressed_name())?, true))
            }
            opened => Ok((opened?, segment.is_compressed)),
        }
    }
}

impl Skipped {
    fn add(&mut self, other: Self) {
        self.damaged += other.damaged;
        self.newer += other.newer;
        self.unreadable += other.unreadable;
        self.denied += other.denied;
        self.older += other.older;
    }

    /// A sentence for people. `None` if nothing was skipped.
    pub(crate) fn message(&self) -> Option<String> {
        let count = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let parts: Vec<String> = [
            count(self.damaged, "damaged line", "damaged lines"),
            count(self.newer, "record of a newer oomwhy", "records of a newer oomwhy"),
            count(self.unreadable, "file that cannot be read", "files that cannot be read"),
            count(
                self.older,
                "older record that would take too much memory",
                "older records that would take too much memory",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("skipped {}", parts.join(", ")))
    }
}

/// Whether a segment can have records in the time range. No record is later than the last write.
/// But records can be earlier than the segment: a task can wait for hours before its report is
/// closed.
fn may_have(listed: &ListedSegment, query: &Query) -> bool {
    query.since.is_none_or(|since| listed.modified >= since.as_second())
}

/// The search of one segment.
struct Search<'a, T> {
    number: u32,
    /// Stands in for the time of records that have none.
    start: Timestamp,
    query: &'a Query,
    kept: &'a Mutex<Kept<T>>,
}

impl<T: Keep> Search<'_, T> {
    /// Searches all lines. Returns whether the content is complete.
    fn lines(
        &self,
        mut content: BufReader<io::Take<Box<dyn Read>>>,
        skipped: &mut Skipped,
    ) -> bool {
        let mut line = Vec::new();
        let mut at = 0_u64;
        loop {
            let Ok((kind, length)) = read_line(&mut content, &mut line, MAX_RECORD_BYTES) else {
                return false;
            };
            match kind {
                Line::End => return content.get_ref().limit() > 0,
                Line::TooLong => skipped.damaged += 1,
                Line::Complete => self.line(at, &line, skipped),
            }
            // The writer may have appended the rest of the last line meanwhile.
            if kind == Line::Complete && !line.ends_with(b"\n") {
                return content.get_ref().limit() > 0;
            }
            at += length;
        }
    }

    fn line(&self, at: u64, line: &[u8], skipped: &mut Skipped) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match Summary::parse(text) {
            Ok(summary) if self.query.matches(&summary) => {
                // Content and lines are shorter than 4 GiB.
                let [start, length] =
                    [at, text.len() as u64].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
                let time = summary.time().unwrap_or(self.start);
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.add(summary, time, (self.number, start), length);
            }
            Ok(_) => {}
            Err(UnreadableLine::Newer) => skipped.newer += 1,
            // It is being written, or was cut off.
            Err(UnreadableLine::Damaged) if text.len() == line.len() => {}
            Err(UnreadableLine::Damaged) => skipped.damaged += 1,
        }
    }
}

/// The newest records of a search, in bounded memory.
struct Kept<T> {
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
    records: Vec<FoundRecord<T>>,
    hasher: RandomState,
    n_dropped: u64,
}

impl<T: Keep> Kept<T> {
    fn new(max_records: usize, max_bytes: usize) -> Self {
        let (records, hasher) = (Vec::new(), RandomState::new());
        Self { max_records, max_bytes, bytes: 0, records, hasher, n_dropped: 0 }
    }

    fn add(&mut self, summary: Summary, time: Timestamp, place: (u32, u32), length: u32) {
        let hash = summary.id.as_ref().map(|id| self.hasher.hash_one(id));
        let record = FoundRecord { summary: T::of(summary), time, place, length, hash };
        self.bytes += bytes_of(&record);
        self.records.push(record);
        // With room to spare, so that it is not sorted for each record.
        let max_records = self.max_records.saturating_mul(2).saturating_add(1024);
        if self.bytes > self.max_bytes || self.records.len() > max_records {
            self.drop_oldest(self.max_bytes / 4 * 3);
        }
    }

    /// The records, oldest first, and how many were dropped to save memory.
    fn finish(mut self) -> (Vec<FoundRecord<T>>, u64) {
        self.drop_oldest(self.max_bytes);
        (self.records, self.n_dropped)
    }

    /// Keeps the latest record of each id, and of these the newest.
    fn drop_oldest(&mut self, max_bytes: usize) {
        self.records.sort_unstable_by_key(|record| (record.hash, Reverse(record.place)));
        self.records.dedup_by(|later, kept| later.hash.is_some() && later.hash == kept.hash);
        self.records.sort_unstable_by_key(|record| (record.time, record.place));
        self.records.drain(..self.records.len().saturating_sub(self.max_records));
        self.bytes = self.records.iter().map(bytes_of).sum();
        let mut n_dropped = 0;
        for record in &self.records {
            if self.bytes <= max_bytes {
                break;
            }
            self.bytes -= bytes_of(record);
            n_dropped += 1;
        }
        self.records.drain(..n_dropped);
        self.n_dropped += n_dropped as u64;
    }
}

fn bytes_of<T: Keep>(record: &FoundRecord<T>) -> usize {
    size_of::<FoundRecord<T>>() + record.summary.heap_bytes()
}

#[cfg(test)]
impl FoundRecord {
    /// For tests that need only the summary.
    pub(crate) fn unstored(summary: Summary) -> Self {
        let time = Timestamp::UNIX_EPOCH;
        Self { summary, time, place: (0, 0), length: 0, hash: None }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufReader, Read},
        sync::Mutex,
    };

    use jiff::{SignedDuration, Timestamp};

    use super::{Keep, Kept, Query, Search, Skipped, Summary};

    fn summary(id: u32) -> Summary {
        Summary { id: Some(format!("{id:08}")), ..Summary::default() }
    }

    /// Adds records in a scrambled order of time; returns the ids that are kept, and what was
    /// dropped.
    fn keep(max_records: usize, max_bytes: usize, ids: &[u32]) -> (Vec<String>, u64) {
        let mut kept = Kept::<Summary>::new(max_records, max_bytes);
        for (id, start) in ids.iter().zip(0..) {
            let time = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(*id));
            kept.add(summary(*id), time, (0, start), 1);
        }
        let (records, n_dropped) = kept.finish();
        (records.into_iter().map(|record| record.summary.id.unwrap()).collect(), n_dropped)
    }

    #[test]
    fn newest_records_are_kept_in_the_order_of_their_time() {
        // Each number once: 7919 is a prime.
        let ids: Vec<u32> = (0..5000).map(|index| index * 7919 % 5000).collect();
        let (kept, n_dropped) = keep(3, usize::MAX, &ids);
        assert_eq!(
            (kept, n_dropped),
            (["00004997", "00004998", "00004999"].map(str::to_owned).to_vec(), 0)
        );
        let summary = summary(0).trimmed();
        let each = size_of::<super::FoundRecord<Summary>>() + Keep::heap_bytes(&summary);
        let (kept, n_dropped) = keep(usize::MAX, 100 * each, &ids);
        assert!((75..=100).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.len() as u64 + n_dropped, 5000);
        assert_eq!(kept.last().unwrap(), "00004999");
        assert!(kept.is_sorted());
    }

    #[test]
    fn record_that_was_stored_later_replaces_the_one_with_its_id() {
        let (kept, n_dropped) = keep(usize::MAX, usize::MAX, &[1, 2, 1, 1]);
        assert_eq!((kept.len(), n_dropped), (2, 0));
    }

    /// A file that grows at each of its ends.
    struct Growing(Vec<&'static [u8]>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let part = if self.0.is_empty() { &[][..] } else { self.0.remove(0) };
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    #[test]
    fn line_that_is_being_written_is_not_damaged() {
        let kept = Mutex::new(Kept::<()>::new(9, 1 << 20));
        let query = Query::default();
        let search = Search { number: 0, start: Timestamp::UNIX_EPOCH, query: &query, kept: &kept };
        let file = Growing(vec![b"{\"type\":", b"", b"\"oom\"}\n"]);
        let content: Box<dyn Read> = Box::new(file);
        let mut skipped = Skipped::default();
        assert!(search.lines(BufReader::new(content.take(1 << 20)), &mut skipped));
        assert_eq!(skipped, Skipped::default());
    }
}
