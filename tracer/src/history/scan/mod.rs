//! Reads the history, while another process may write it.
//!
//! Segments are read from the newest to the oldest, and a search that has found enough ends. No
//! content of a file stops the reading: damaged lines and those of a later version are counted. A
//! last line without its newline is being written, or was cut off, and is skipped.

mod holes;
mod kept;
mod search;
mod skipped;

use std::{
    io::{self, Read as _},
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(crate) use self::{
    holes::Holes,
    kept::{FoundRecord, Keep},
    skipped::Skipped,
};
use self::{holes::SegmentNumbers, kept::Kept, search::Search};
use super::{
    HistoryError,
    content::{self, Content},
    directory::{Directory, ListedSegment},
    query::Query,
    segment::Segment,
    summary::Summary,
};

/// More threads do not help, because they share one disk.
const MAX_THREADS: usize = 4;

/// A history that is open for reading.
#[derive(Debug)]
pub(crate) struct History {
    directory: Directory,
    /// The segments that there were when it was opened.
    listed: Vec<ListedSegment>,
}

#[derive(Debug)]
pub(crate) struct SearchResult<T = Summary> {
    /// The records that match, oldest first.
    pub found: Vec<FoundRecord<T>>,
    pub skipped: Skipped,
    /// Numbers that no record of the segments has that were read.
    pub holes: Holes,
}

/// What the threads of a search have found besides records.
#[derive(Default)]
struct Progress {
    skipped: Skipped,
    numbers: SegmentNumbers,
    /// For the line that a thread reads.
    buffer: Vec<u8>,
}

impl Progress {
    fn add(&mut self, other: Self) {
        self.skipped.add(other.skipped);
        self.numbers.extend(other.numbers);
    }
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
    /// times, its highest revision counts, and of these the latest record.
    pub(crate) fn find<T: Keep>(&self, query: &Query, max_records: usize) -> SearchResult<T> {
        let kept = Mutex::new(Kept::new(max_records, T::MAX_BYTES));
        let Progress { mut skipped, numbers, .. } = self.read_all(query, &kept);
        let (found, n_dropped) = kept.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        skipped.older = n_dropped;
        SearchResult { found, skipped, holes: numbers.holes() }
    }

    /// Calls `each` with the lines of records, in this order and without newlines. Records in a
    /// segment that was removed meanwhile are left out.
    pub(crate) fn lines<T, E>(
        &self,
        found: &[FoundRecord<T>],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for run in found.chunk_by(|a, b| a.place.0 == b.place.0) {
            let Some((first, _)) = run.split_first() else { continue };
            let Some(listed) = self.listed.get(first.place.0 as usize) else { continue };
            let Ok(content) = content::open(&self.directory, &listed.segment) else { continue };
            if run.is_sorted_by_key(|record| record.place) {
                lines_in_order(content, run.iter(), &mut each)?;
            } else {
                let lines = lines_of(content, run);
                lines.iter().try_for_each(|line| each(line))?;
            }
        }
        Ok(())
    }

    /// Searches segments in parallel, the newest one first.
    fn read_all<T: Keep>(&self, query: &Query, kept: &Mutex<Kept<T>>) -> Progress {
        let mut progress = Progress::default();
        let Some(newest) = self.listed.len().checked_sub(1) else {
            return progress;
        };
        // Often it is enough. So the threads begin with the one before it.
        self.read(newest, query, kept, &mut progress);
        let n_unread = AtomicUsize::new(newest);
        let work = |progress: &mut Progress| {
            while let Some(index) = take_last(&n_unread)
                && self.read(index, query, kept, progress)
            {}
        };
        let n_cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = n_cpus.min(MAX_THREADS).min(newest);
        thread::scope(|scope| {
            let run = || {
                let mut progress = Progress::default();
                work(&mut progress);
                progress
            };
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(run)).collect();
            work(&mut progress);
            // Joining fails only if the thread panicked. Then its counts are missing.
            let ended = others.into_iter().flat_map(thread::ScopedJoinHandle::join);
            ended.for_each(|other| progress.add(other));
        });
        progress
    }

    /// Searches a segment. Returns `false` if it and all before it are not needed any more.
    fn read<T: Keep>(
        &self,
        index: usize,
        query: &Query,
        kept: &Mutex<Kept<T>>,
        progress: &mut Progress,
    ) -> bool {
        // A directory has fewer files.
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if kept.lock().unwrap_or_else(PoisonError::into_inner).has_enough_after(number) {
            return false;
        }
        if let Some(listed) = self.listed.get(index).filter(|listed| may_have(listed, query)) {
            let search = Search::new(number, listed.segment.start, query, kept);
            self.search(&listed.segment, search, progress);
        }
        true
    }

    fn search<T: Keep>(&self, segment: &Segment, search: Search<'_, T>, progress: &mut Progress) {
        match content::open(&self.directory, segment) {
            Ok(mut content) => search.read(&mut content, progress),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                progress.skipped.unreadable += 1;
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                progress.skipped.denied += u64::from(is_denied);
            }
        }
    }
}

/// The last of so many things that nobody has taken yet.
fn take_last(n_left: &AtomicUsize) -> Option<usize> {
    let less = |left: usize| left.checked_sub(1);
    let before = n_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    before.ok().and_then(less)
}

/// Reads the lines of records of one segment, given in the order of the segment. Ends at the first
/// one that cannot be read.
fn lines_in_order<'a, T: 'a, E>(
    mut content: Content,
    records: impl Iterator<Item = &'a FoundRecord<T>>,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut at, mut line) = (0, Vec::new());
    for record in records {
        let (start, length) = (u64::from(record.place.1), u64::from(record.length));
        let before = start.saturating_sub(at);
        let skipped = io::copy(&mut content.by_ref().take(before), &mut io::sink());
        line.clear();
        let read = content.by_ref().take(length).read_to_end(&mut line);
        if skipped.ok() != Some(before) || read.ok() != usize::try_from(length).ok() {
            break;
        }
        at = start + length;
        each(&line)?;
    }
    Ok(())
}

/// The lines of records of one segment, in this order.
fn lines_of<T>(content: Content, records: &[FoundRecord<T>]) -> Vec<Vec<u8>> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|index| records.get(*index).map(|record| record.place));
    let in_order = order.iter().filter_map(|index| records.get(*index));
    let (mut lines, mut next) = (vec![Vec::new(); records.len()], order.iter());
    // `Ok` at each line, so it does not fail.
    let _ = lines_in_order(content, in_order, |line| {
        if let Some(place) = next.next().and_then(|index| lines.get_mut(*index)) {
            *place = line.to_vec();
        }
        Ok::<(), ()>(())
    });
    lines.retain(|line| !line.is_empty());
    lines
}

/// Whether a segment can have records in the time range. The file's time of a compressed segment is
/// no earlier than its latest record. But records can be earlier than the segment: a task can wait
/// for hours before its report is closed.
fn may_have(listed: &ListedSegment, query: &Query) -> bool {
    !listed.segment.is_compressed
        || query.since.is_none_or(|since| listed.modified >= since.as_second())
}
