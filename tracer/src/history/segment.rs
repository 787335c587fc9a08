//! The files of the history. Their names are `<start>-<boot>.jsonl`, or `.jsonl.gz` once closed.
//! The start comes first, in UTC and with a fixed width, so that names sort. A segment that begins
//! after another one has a later start, even if the clock was set back in between: so names have
//! the order of the records' numbers.
//!
//! A line that could not be written completely is cut off again. If even that fails, the next line
//! goes to a new segment, so that it does not continue the incomplete one.

use std::{
    fs::File,
    io::{self, Write},
    time::Duration,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::moment::Moment;

/// Digits of the boot id in a name: enough to distinguish the boots of one machine.
const BOOT_DIGITS: usize = 8;

/// A segment, as its name describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// The name without `.jsonl` and `.gz`.
    pub stem: String,
    /// Time of its creation, to the millisecond.
    pub start: Timestamp,
    /// It is closed, so nothing is appended any more.
    pub is_compressed: bool,
}

impl Segment {
    /// A new segment.
    pub(crate) fn begun(start: Timestamp, boot_id: &str) -> Self {
        let digits = boot_id.chars().filter(char::is_ascii_hexdigit);
        let boot: String = digits.chain(std::iter::repeat('0')).take(BOOT_DIGITS).collect();
        let stem = format!("{}-{}", start.strftime("%Y%m%dT%H%M%S%.3fZ"), boot.to_lowercase());
        Self { stem, start, is_compressed: false }
    }

    /// Parses the name of a file. `None` if it is not a segment.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let plain = name.strip_suffix(".gz");
        let stem = plain.unwrap_or(name).strip_suffix(".jsonl")?;
        let (start, boot) = stem.split_once('-')?;
        let is_boot = boot.len() == BOOT_DIGITS && boot.bytes().all(|it| it.is_ascii_hexdigit());
        // "20261123T092107.123Z"
        if !is_boot || start.len() != 20 {
            return None;
        }
        let utc = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", start).ok()?;
        let start = utc.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp();
        Some(Self { stem: stem.to_owned(), start, is_compressed: plain.is_some() })
    }

    /// The name that its file has now.
    pub(crate) fn file_name(&self) -> String {
        if self.is_compressed { self.compressed_name() } else { self.plain_name() }
    }

    /// The name of its file until it is compressed.
    pub(crate) fn plain_name(&self) -> String {
        format!("{}.jsonl", self.stem)
    }

    /// The name of its file once it is compressed.
    pub(crate) fn compressed_name(&self) -> String {
        format!("{}.jsonl.gz", self.stem)
    }
}

/// A segment that lines are appended to.
#[derive(Debug)]
pub(super) struct OpenSegment {
    segment: Segment,
    file: File,
    begun: Moment,
    bytes: u64,
}

impl OpenSegment {
    pub(super) fn new(segment: Segment, file: File, begun: Moment) -> Self {
        Self { segment, file, begun, bytes: 0 }
    }

    /// The name of its file.
    pub(super) fn name(&self) -> String {
        self.segment.plain_name()
    }

    pub(super) fn has_room(&self, added: u64, limit_bytes: u64) -> bool {
        self.bytes == 0 || self.bytes + added <= limit_bytes
    }

    /// Whether it has records, and was begun so long ago.
    pub(super) fn is_older_than(&self, age: Duration, now: &Moment) -> bool {
        self.bytes > 0 && now.since(&self.begun) > age
    }

    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.file.write(line)?;
        if written < line.len() {
            // A short write: the disk is full.
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.sync_data()?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Removes an incomplete line.
    pub(super) fn cut_back(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, ToSpan};

    use super::Segment;

    #[test]
    fn name_has_start_and_boot_and_can_be_parsed() {
        let start: Timestamp = "2026-11-23T09:21:07.123Z".parse().unwrap();
        let mut segment = Segment::begun(start, "2F0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11");
        assert_eq!(segment.file_name(), "20261123T092107.123Z-2f0e7d5c.jsonl");
        assert_eq!(Segment::parse(&segment.file_name()), Some(segment.clone()));
        segment.is_compressed = true;
        assert_eq!(segment.file_name(), "20261123T092107.123Z-2f0e7d5c.jsonl.gz");
        assert_eq!(Segment::parse(&segment.file_name()), Some(segment));
    }

    #[test]
    fn later_segment_sorts_after_earlier() {
        let start: Timestamp = "2026-12-31T23:59:59.9Z".parse().unwrap();
        let mut earlier = Segment::begun(start, "ff").file_name();
        for step in [1.millisecond(), 100.milliseconds(), 1.second(), 9.hours(), 24.hours()] {
            let later = Segment::begun(start + step, "00").file_name();
            assert!(earlier < later, "{earlier} {later}");
            earlier = later;
        }
    }

    #[test]
    fn parse_other_file_is_none() {
        for name in [
            "",
            "lock",
            "notes.jsonl",
            "20261123T092107.123Z-2f0e7d5c.jsonl.gz.tmp",
            "20261123T092107.123Z-2f0e7d5c.json",
            "20261123T092107.123Z-../../etc.jsonl",
            "20261323T092107.123Z-2f0e7d5c.jsonl",
            "20261123T092107.123Z-2f0e7d5.jsonl",
            "20261123T092107Z-2f0e7d5c.jsonl",
        ] {
            assert_eq!(Segment::parse(name), None, "{name}");
        }
    }
}
