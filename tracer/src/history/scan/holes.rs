//! Finds numbers that no record has: these records were lost. Pure.

use std::collections::BTreeMap;

use crate::fmt::units::count;

/// Ranges that are listed. The others are only counted.
const MAX_LISTED: usize = 5;

/// Numbers that no record has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holes {
    /// The first ranges, each with its first and its last number.
    listed: Vec<(u64, u64)>,
    n_ranges: u64,
    n_records: u64,
}

impl Holes {
    fn add(&mut self, first: u64, last: u64) {
        if self.listed.len() < MAX_LISTED {
            self.listed.push((first, last));
        }
        self.n_ranges = self.n_ranges.saturating_add(1);
        self.n_records = self.n_records.saturating_add((last - first).saturating_add(1));
    }

    fn extend(&mut self, other: Self) {
        let Self { listed, n_ranges, n_records } = other;
        let room = MAX_LISTED.saturating_sub(self.listed.len());
        self.listed.extend(listed.into_iter().take(room));
        self.n_ranges = self.n_ranges.saturating_add(n_ranges);
        self.n_records = self.n_records.saturating_add(n_records);
    }

    /// A sentence for people. `None` if no number is missing.
    pub(crate) fn message(&self) -> Option<String> {
        let range = |&(first, last): &(u64, u64)| match last - first {
            0 => first.to_string(),
            _ => format!("{first} to {last}"),
        };
        let mut ranges: Vec<String> = self.listed.iter().map(range).collect();
        if self.n_ranges > self.listed.len() as u64 {
            ranges.push("...".to_owned());
        }
        let verb = if self.n_records == 1 { "is" } else { "are" };
        let records = count(self.n_records, "record");
        (!ranges.is_empty()).then(|| {
            let ranges = ranges.join(", ");
            format!("{records} {verb} missing (seq {ranges}): not stored, removed or damaged")
        })
    }
}

/// The numbers in a segment that was read to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// The first and the highest one.
    span: Option<(u64, u64)>,
    holes: Holes,
}

impl Numbers {
    pub(super) fn add(&mut self, seq: u64) {
        let Some((first, highest)) = self.span else {
            self.span = Some((seq, seq));
            return;
        };
        if let Some((from, to)) = between(highest, seq) {
            self.holes.add(from, to);
        }
        self.span = Some((first, highest.max(seq)));
    }
}

/// The numbers between a record and the next one.
fn between(before: u64, next: u64) -> Option<(u64, u64)> {
    let (from, to) = (before.checked_add(1)?, next.checked_sub(1)?);
    (from <= to).then_some((from, to))
}

/// The numbers of all segments that were read, by the number of the segment.
#[derive(Debug, Default)]
pub(super) struct SegmentNumbers(BTreeMap<u32, Numbers>);

impl SegmentNumbers {
    pub(super) fn insert(&mut self, segment: u32, numbers: Numbers) {
        self.0.insert(segment, numbers);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All holes. Nothing is known about numbers in a segment that was not read.
    pub(super) fn holes(self) -> Holes {
        let mut holes = Holes::default();
        let (mut highest, mut next_segment) = (None, None);
        for (segment, numbers) in self.0 {
            if next_segment != Some(segment) {
                highest = None;
            }
            next_segment = segment.checked_add(1);
            // A segment of an older version has no numbers.
            let Some((first, last)) = numbers.span else { continue };
            if let Some((from, to)) = highest.and_then(|highest| between(highest, first)) {
                holes.add(from, to);
            }
            holes.extend(numbers.holes);
            highest = Some(last);
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, SegmentNumbers};

    /// The message for segments with these numbers. `None`: the segment was not read.
    fn message(segments: &[Option<&[u64]>]) -> Option<String> {
        let mut all = SegmentNumbers::default();
        for (segment, seqs) in (0..).zip(segments) {
            if let Some(seqs) = seqs {
                let mut numbers = Numbers::default();
                seqs.iter().for_each(|seq| numbers.add(*seq));
                all.insert(segment, numbers);
            }
        }
        all.holes().message()
    }

    #[test]
    fn missing_numbers_are_counted_and_listed() {
        assert_eq!(message(&[Some(&[3, 4]), Some(&[]), Some(&[5, 6])]), None);
        let words = "3 records are missing (seq 5, 7 to 8): not stored, removed or damaged";
        assert_eq!(message(&[Some(&[4, 6]), Some(&[9])]).as_deref(), Some(words));
        let words = "1 record is missing (seq 5): not stored, removed or damaged";
        assert_eq!(message(&[Some(&[4]), Some(&[]), Some(&[6])]).as_deref(), Some(words));
    }

    #[test]
    fn segment_that_was_not_read_hides_no_hole_and_makes_none() {
        assert_eq!(message(&[Some(&[1]), None, Some(&[9, 10])]), None);
        assert!(message(&[Some(&[1]), None, Some(&[9, 11])]).unwrap().contains("(seq 10)"));
    }

    #[test]
    fn many_holes_take_little_memory() {
        let seqs: Vec<u64> = (0..1000).map(|index| index * 2).collect();
        let words = message(&[Some(&seqs), Some(&[u64::MAX])]).unwrap();
        let (count, rest) = words.split_once(' ').unwrap();
        assert_eq!(count, (u64::MAX - 1998 - 1 + 999).to_string());
        assert!(rest.contains("(seq 1, 3, 5, 7, 9, ...)"), "{rest}");
        // Numbers that go back are those of another history.
        assert_eq!(message(&[Some(&[7, 3, 7, 8])]), None);
    }
}
