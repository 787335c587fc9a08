//! Reads the history, while somebody may be writing it.
//!
//! Nothing that is found in a file ends the reading: what is damaged or of a later version is
//! counted. A last line without its end is torn, or being written: it is passed over.

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
    directory::{Directory, Listed},
    query::Query,
    segment::Segment,
    store::SEGMENT_BYTES_MAX,
    summary::{Summary, Unread},
};

/// A segment that unpacks to more than this was not written by us: it must not fill our memory.
const CONTENT_MAX: u64 = 32 * SEGMENT_BYTES_MAX;
/// More threads do not help: the disk is one.
const THREADS_MAX: usize = 4;

/// A history that is open to read.
#[derive(Debug)]
pub(crate) struct History {
    directory: Directory,
}

/// What was found, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The records.
    pub found: Vec<Found>,
    /// What could not be read.
    pub skipped: Skipped,
}

/// A record that matches, and where its line is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What was read of it.
    pub summary: Summary,
    segment: Segment,
    line: Range<usize>,
}

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Lines, or ends of segments, that are damaged.
    pub damaged: u64,
    /// Records of a later version.
    pub newer: u64,
    /// Segments that are no files, or may not be read.
    pub unreadable: u64,
}

impl History {
    /// Opens one.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        Ok(Self { directory: Directory::open(path)? })
    }

    /// The records that match. Of a report that was stored again, the latest.
    pub(crate) fn find(&self, query: &Query) -> Result<Findings, HistoryError> {
        let listed = self.directory.segments()?;
        let wanted: Vec<&Listed> = listed.iter().filter(|it| may_have(it, query)).collect();
        let mut all = Findings::default();
        for part in self.read_all(&wanted, query) {
            all.found.extend(part.found);
            all.skipped.add(part.skipped);
        }
        all.found = latest(all.found);
        all.found.sort_by_key(|found| found.summary.time().unwrap_or(found.segment.start));
        Ok(all)
    }

    /// Passes on the lines of records, without their ends, in this order. A segment that was removed
    /// meanwhile takes its records along: they are not passed on.
    pub(crate) fn lines<E>(
        &self,
        found: &[Found],
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

    /// Reads segments side by side; in their order.
    fn read_all(&self, listed: &[&Listed], query: &Query) -> Vec<Findings> {
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
        let n_threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = n_threads.min(THREADS_MAX).min(listed.len());
        let mut parts: Vec<(usize, Findings)> = thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            // Joining fails only where the thread panicked: its share is missing then.
            own.into_iter()
                .chain(others.into_iter().flat_map(|it| it.join().unwrap_or_default()))
                .collect()
        });
        parts.sort_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn read(&self, listed: &Listed, query: &Query) -> Findings {
        let mut findings = Findings::default();
        match self.content(&listed.segment) {
            Ok((content, is_whole)) => {
                search(&content, &listed.segment, query, &mut findings);
                findings.skipped.damaged += u64::from(!is_whole);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => findings.skipped.unreadable += 1,
        }
        findings
    }

    /// What is in a segment, and whether that is all.
    fn content(&self, segment: &Segment) -> io::Result<(Vec<u8>, bool)> {
        let (file, is_compressed) = self.open_segment(segment)?;
        if is_compressed {
            Ok(read_up_to(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))))
        } else {
            Ok(read_up_to(file))
        }
    }

    /// Opens a segment by the name it has now: it may have been closed since it was listed.
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
    }

    /// What was passed over, for people; nothing if nothing was.
    pub(crate) fn say(&self) -> Option<String> {
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

/// As much as there is, and whether nothing went wrong.
fn read_up_to(from: impl Read) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    let is_whole = from.take(CONTENT_MAX).read_to_end(&mut content).is_ok();
    let is_whole = is_whole && (content.len() as u64) < CONTENT_MAX;
    (content, is_whole)
}

/// Whether a segment can have records of the range: none is later than its last line. It may well
/// have some that are earlier than its start: a task can wait for hours before its report is closed.
fn may_have(listed: &Listed, query: &Query) -> bool {
    query.since.is_none_or(|since| listed.modified >= since.as_second())
}

fn search(content: &[u8], segment: &Segment, query: &Query, into: &mut Findings) {
    let mut start = 0;
    while let Some(rest) = content.get(start..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let range = start..start + line.len();
        start = range.end + 1;
        match Summary::parse(line) {
            Ok(summary) if query.matches(&summary) => {
                into.found.push(Found { summary, segment: segment.clone(), line: range });
            }
            Ok(_) => {}
            Err(Unread::Newer) => into.skipped.newer += 1,
            // Torn, or being written.
            Err(Unread::Damaged) if end.is_none() => {}
            Err(Unread::Damaged) => into.skipped.damaged += 1,
        }
    }
}

/// Without what was stored again later under the same id.
fn latest(found: Vec<Found>) -> Vec<Found> {
    let ids = found.iter().enumerate();
    let ids = ids.filter_map(|(index, found)| Some((found.summary.id.clone()?, index)));
    let last: HashMap<String, usize> = ids.collect();
    let is_last = |(index, found): &(usize, Found)| {
        found.summary.id.as_ref().is_none_or(|id| last.get(id) == Some(index))
    };
    found.into_iter().enumerate().filter(is_last).map(|(_, found)| found).collect()
}

#[cfg(test)]
impl Found {
    /// For tests of what is made of summaries alone.
    pub(crate) fn unstored(summary: Summary) -> Self {
        Self { summary, segment: Segment::begun(jiff::Timestamp::UNIX_EPOCH, ""), line: 0..0 }
    }
}
