//! The newest records of a search, in bounded memory.

use std::{
    cmp::Reverse,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU64,
};

use jiff::Timestamp;

use crate::history::summary::Summary;

/// The number of a segment in the history, and where a line begins there.
pub(super) type Place = (u32, u32);

/// A record that matches, and the position of its line.
#[derive(Clone, Debug)]
pub(crate) struct FoundRecord<T = Summary> {
    pub summary: T,
    /// `None`: an older version stored it.
    seq: Option<NonZeroU64>,
    time: Timestamp,
    pub(super) place: Place,
    pub(super) length: u32,
    revision: u32,
    /// Of its id.
    hash: Option<u64>,
}

impl<T> FoundRecord<T> {
    /// Records are sorted by their numbers, because the clock may have been set. Records of an
    /// older version have none; they come first, sorted by time.
    fn order(&self) -> (Option<NonZeroU64>, Timestamp, Place) {
        (self.seq, self.time, self.place)
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
    const MAX_BYTES: usize = 38 << 20;

    fn of(summary: Summary) -> Self {
        summary.trimmed()
    }

    fn heap_bytes(&self) -> usize {
        ROW_BYTES + self.heap_bytes()
    }
}

/// Only its position.
impl Keep for () {
    /// The lines of a segment can be in memory, too, while they are printed.
    const MAX_BYTES: usize = 20 << 20;

    fn of(_summary: Summary) -> Self {}

    fn heap_bytes(&self) -> usize {
        0
    }
}

pub(super) struct Kept<T> {
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
    records: Vec<FoundRecord<T>>,
    hasher: RandomState,
    n_dropped: u64,
}

impl<T: Keep> Kept<T> {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        let (records, hasher) = (Vec::new(), RandomState::new());
        Self { max_records, max_bytes, bytes: 0, records, hasher, n_dropped: 0 }
    }

    pub(super) fn add(&mut self, summary: Summary, time: Timestamp, place: Place, length: u32) {
        let hash = summary.id.as_ref().map(|id| self.hasher.hash_one(id));
        let seq = summary.seq.and_then(NonZeroU64::new);
        // Older versions told revisions apart by their order alone.
        let revision = summary.revision.unwrap_or_default();
        let record =
            FoundRecord { summary: T::of(summary), seq, time, place, length, revision, hash };
        self.bytes += bytes_of(&record);
        self.records.push(record);
        // With room to spare, so that it is not sorted for each record.
        let max_records = self.max_records.saturating_mul(2).saturating_add(1024);
        if self.bytes > self.max_bytes || self.records.len() > max_records {
            self.drop_oldest(self.max_bytes / 4 * 3);
        }
    }

    /// Whether no record of this segment or an earlier one can be wanted, because later segments
    /// have enough. Only numbers prove that: times are in no order.
    pub(super) fn has_enough_after(&mut self, segment: u32) -> bool {
        let has_enough = |kept: &Self| {
            let is_later = |it: &&FoundRecord<T>| it.seq.is_some() && it.place.0 > segment;
            kept.records.iter().filter(is_later).count() >= kept.max_records
        };
        self.max_records <= self.records.len() && has_enough(self) && {
            // Some of them may be the same report.
            self.drop_oldest(self.max_bytes);
            has_enough(self)
        }
    }

    /// The records, oldest first, and how many were dropped to save memory.
    pub(super) fn finish(mut self) -> (Vec<FoundRecord<T>>, u64) {
        self.drop_oldest(self.max_bytes);
        (self.records, self.n_dropped)
    }

    /// Keeps the highest revision of each id, and of these the newest records.
    fn drop_oldest(&mut self, max_bytes: usize) {
        self.records.sort_unstable_by_key(|it| (it.hash, Reverse((it.revision, it.place))));
        self.records.dedup_by(|later, kept| later.hash.is_some() && later.hash == kept.hash);
        self.records.sort_unstable_by_key(FoundRecord::order);
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
        Self { summary, seq: None, time, place: (0, 0), length: 0, revision: 0, hash: None }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{FoundRecord, Keep, Kept, Place, Summary};

    fn summary(id: u32) -> Summary {
        Summary { id: Some(format!("{id:08}")), ..Summary::default() }
    }

    fn at(second: u32) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(second))
    }

    fn ids(records: Vec<FoundRecord>) -> Vec<String> {
        records.into_iter().map(|record| record.summary.id.unwrap()).collect()
    }

    /// Adds records in a scrambled order of time; returns the ids that are kept, and what was
    /// dropped.
    fn keep(max_records: usize, max_bytes: usize, ids_by_second: &[u32]) -> (Vec<String>, u64) {
        let mut kept = Kept::<Summary>::new(max_records, max_bytes);
        for (id, start) in ids_by_second.iter().zip(0..) {
            kept.add(summary(*id), at(*id), (0, start), 1);
        }
        let (records, n_dropped) = kept.finish();
        (ids(records), n_dropped)
    }

    #[test]
    fn newest_records_without_number_are_kept_in_the_order_of_their_time() {
        // Each number once: 7919 is a prime.
        let scrambled: Vec<u32> = (0..5000).map(|index| index * 7919 % 5000).collect();
        let (kept, n_dropped) = keep(3, usize::MAX, &scrambled);
        assert_eq!(
            (kept, n_dropped),
            (["00004997", "00004998", "00004999"].map(str::to_owned).to_vec(), 0)
        );
        let summary = summary(0).trimmed();
        let each = size_of::<FoundRecord<Summary>>() + Keep::heap_bytes(&summary);
        let (kept, n_dropped) = keep(usize::MAX, 100 * each, &scrambled);
        assert!((75..=100).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.len() as u64 + n_dropped, 5000);
        assert_eq!(kept.last().unwrap(), "00004999");
        assert!(kept.is_sorted());
    }

    /// Adds records with id, number, revision and place.
    fn numbered(max_records: usize, records: &[(u32, u64, u32, Place)]) -> Kept<Summary> {
        let mut kept = Kept::new(max_records, usize::MAX);
        for &(id, seq, revision, place) in records {
            let (seq, revision) = (Some(seq).filter(|it| *it > 0), Some(revision));
            let summary = Summary { revision, seq, ..summary(id) };
            // The clock goes back.
            kept.add(summary, at(1_000_000 - place.0 * 1000 - place.1), place, 1);
        }
        kept
    }

    #[test]
    fn numbered_records_are_kept_in_the_order_of_their_numbers() {
        let records = [(3, 3, 1, (1, 0)), (4, 4, 1, (2, 0)), (1, 1, 1, (0, 7)), (2, 0, 1, (0, 3))];
        let all = numbered(usize::MAX, &records).finish().0;
        assert_eq!(ids(all), ["00000002", "00000001", "00000003", "00000004"]);
        assert_eq!(ids(numbered(1, &records).finish().0), ["00000004"]);
    }

    #[test]
    fn highest_revision_of_a_report_counts_and_of_these_the_latest() {
        let place_of = |records: &[(u32, u64, u32, Place)]| {
            let found = numbered(usize::MAX, records).finish().0;
            assert_eq!(found.len(), 1);
            found[0].place
        };
        assert_eq!(place_of(&[(1, 1, 1, (0, 0)), (1, 2, 2, (0, 9))]), (0, 9));
        assert_eq!(place_of(&[(1, 1, 2, (0, 0)), (1, 2, 1, (0, 9))]), (0, 0));
        assert_eq!(place_of(&[(1, 2, 2, (1, 0)), (1, 1, 2, (0, 9))]), (1, 0));
        assert_eq!(place_of(&[(1, 0, 0, (0, 5)), (1, 0, 0, (0, 9))]), (0, 9));
    }

    #[test]
    fn search_ends_only_if_later_segments_have_enough_numbered_reports() {
        let two = [(1, 8, 1, (5, 0)), (2, 9, 1, (5, 9))];
        assert!(numbered(2, &two).has_enough_after(4));
        assert!(!numbered(2, &two).has_enough_after(5), "they may have more");
        assert!(!numbered(3, &two).has_enough_after(4));
        let same = [(1, 8, 1, (5, 0)), (1, 9, 2, (5, 9))];
        assert!(!numbered(2, &same).has_enough_after(4), "one report");
        let old = [(1, 0, 1, (5, 0)), (2, 0, 1, (5, 9))];
        assert!(!numbered(2, &old).has_enough_after(4), "times are in no order");
    }
}
