//! Reads the history, while another process may write it.
//!
//! No content of a file stops the reading: damaged lines and those of a later version are counted.
//! A last line without its newline is being written, or was cut off, and is skipped.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    num::NonZeroUsize,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use flate2::bufread::MultiGzDecoder;

use super::{
    HistoryError,
    directory::{Directory, ListedSegment},
    query::Query,
    segment::Segment,
    store::MAX_SEGMENT_BYTES,
    summary::{Summary, UnreadableLine},
};

/// A segment with more content than this was not written by this program, and is cut.
const MAX_CONTENT_BYTES: u64 = 32 * MAX_SEGMENT_BYTES;
/// More threads do not help, because they share one disk.
const MAX_THREADS: usize = 4;

/// A history that is open for reading.
#[derive(Debug)]
pub(crate) struct History {
    directory: Directory,
}

#[derive(Debug, Default)]
pub(crate) struct SearchResult {
    /// The records that match, oldest first.
    pub found: Vec<FoundRecord>,
    pub skipped: Skipped,
}

/// A record that matches, and the position of its line.
#[derive(Clone, Debug)]
pub(crate) struct FoundRecord {
    pub summary: Summary,
    segment: Segment,
    line: Range<usize>,
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
        if directory.has_history()? { Ok(Self { directory }) } else { Err(absent()) }
    }

    /// The records that match. If a report was stored several times, the latest record counts.
    pub(crate) fn find(&self, query: &Query) -> Result<SearchResult, HistoryError> {
        let listed = self.directory.segments()?;
        let wanted: Vec<&ListedSegment> = listed.iter().filter(|it| may_have(it, query)).collect();
        let mut result = SearchResult::default();
        for part in self.read_all(&wanted, query) {
            result.found.extend(part.found);
            result.skipped.add(part.skipped);
        }
        result.found = latest(result.found);
        result.found.sort_by_key(|found| found.summary.time().unwrap_or(found.segment.start));
        Ok(result)
    }

    /// Calls `each` with the lines of records, in this order and without newlines. Records in a
    /// segment that was removed meanwhile are left out.
    pub(crate) fn lines<E>(
        &self,
        found: &[FoundRecord],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open: Option<(&str, Vec<u8>)> = None;
        for it in found {
            if open.as_ref().is_none_or(|(stem, _)| *stem != it.segment.stem) {
                let content = self.content(&it.segment).map(|(content, _)| content);
                open = Some((&it.segment.stem, content.unwrap_or_default()));
            }
            let content = open.as_ref().map_or(&[][..], |(_, content)| content);
            if let Some(line) = content.get(it.line.clone()) {
                each(line)?;
            }
        }
        Ok(())
    }

    /// Searches segments in parallel. Returns the results in the order of the segments.
    fn read_all(&self, listed: &[&ListedSegment], query: &Query) -> Vec<SearchResult> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(listed) = listed.get(index) else {
                    return done;
                };
                done.push((index, self.read(listed, query)));
            }
        };
        let n_cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = n_cpus.min(MAX_THREADS).min(listed.len());
        let mut parts: Vec<(usize, SearchResult)> = thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            // Joining fails only if the thread panicked. Then its results are missing.
            own.into_iter()
                .chain(others.into_iter().flat_map(|it| it.join().unwrap_or_default()))
                .collect()
        });
        parts.sort_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn read(&self, listed: &ListedSegment, query: &Query) -> SearchResult {
        let mut result = SearchResult::default();
        match self.content(&listed.segment) {
            Ok((content, is_complete)) => {
                search(&content, &listed.segment, query, &mut result);
                result.skipped.damaged += u64::from(!is_complete);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                result.skipped.unreadable += 1;
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                result.skipped.denied += u64::from(is_denied);
            }
        }
        result
    }

    /// The content of a segment, and whether it is complete.
    fn content(&self, segment: &Segment) -> io::Result<(Vec<u8>, bool)> {
        let (file, is_compressed) = self.open_segment(segment)?;
        if is_compressed {
            Ok(read_up_to(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))))
        } else {
            Ok(read_up_to(file))
        }
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
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("skipped {}", parts.join(", ")))
    }
}

/// Everything that can be read, and whether that is complete.
fn read_up_to(from: impl Read) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    let has_end = from.take(MAX_CONTENT_BYTES).read_to_end(&mut content).is_ok();
    let is_complete = has_end && (content.len() as u64) < MAX_CONTENT_BYTES;
    (content, is_complete)
}

/// Whether a segment can have records in the time range. No record is later than the last write.
/// But records can be earlier than the segment: a task can wait for hours before its report is
/// closed.
fn may_have(listed: &ListedSegment, query: &Query) -> bool {
    query.since.is_none_or(|since| listed.modified >= since.as_second())
}

fn search(content: &[u8], segment: &Segment, query: &Query, into: &mut SearchResult) {
    let mut start = 0;
    while let Some(rest) = content.get(start..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let range = start..start + line.len();
        start = range.end + 1;
        match Summary::parse(line) {
            Ok(summary) if query.matches(&summary) => {
                into.found.push(FoundRecord { summary, segment: segment.clone(), line: range });
            }
            Ok(_) => {}
            Err(UnreadableLine::Newer) => into.skipped.newer += 1,
            // It is being written, or was cut off.
            Err(UnreadableLine::Damaged) if end.is_none() => {}
            Err(UnreadableLine::Damaged) => into.skipped.damaged += 1,
        }
    }
}

/// Drops records that were stored again later under the same id.
fn latest(found: Vec<FoundRecord>) -> Vec<FoundRecord> {
    let last: HashMap<String, usize> = found
        .iter()
        .enumerate()
        .filter_map(|(index, found)| Some((found.summary.id.clone()?, index)))
        .collect();
    let is_last = |(index, found): &(usize, FoundRecord)| {
        found.summary.id.as_ref().is_none_or(|id| last.get(id) == Some(index))
    };
    found.into_iter().enumerate().filter(is_last).map(|(_, found)| found).collect()
}

#[cfg(test)]
impl FoundRecord {
    /// For tests that need only the summary.
    pub(crate) fn unstored(summary: Summary) -> Self {
        Self { summary, segment: Segment::begun(jiff::Timestamp::UNIX_EPOCH, ""), line: 0..0 }
    }
}
