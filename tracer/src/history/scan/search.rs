//! The search of one segment.

use std::{
    ops::ControlFlow::Continue,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::{
    Progress,
    holes::Numbers,
    kept::{Keep, Kept, Place},
};
use crate::history::{
    checksum::{self, Part, Seal},
    content::{self, Content, FoundLine},
    query::Query,
    summary::{Summary, UnreadableLine},
};

pub(super) struct Search<'a, T> {
    /// The number of the segment.
    segment: u32,
    /// Stands in for the time of records that have none.
    start: Timestamp,
    query: &'a Query,
    kept: &'a Mutex<Kept<T>>,
    numbers: Numbers,
}

impl<'a, T: Keep> Search<'a, T> {
    pub(super) fn new(
        segment: u32,
        start: Timestamp,
        query: &'a Query,
        kept: &'a Mutex<Kept<T>>,
    ) -> Self {
        Self { segment, start, query, kept, numbers: Numbers::default() }
    }

    /// Searches all lines.
    pub(super) fn read(mut self, content: &mut Content, progress: &mut Progress) {
        let Progress { skipped, buffer, .. } = progress;
        let is_complete = content::each_line(content, buffer, |at, line| {
            let (text, is_terminated) = match line {
                FoundLine::Complete(text) => (text, true),
                FoundLine::Unterminated(text) => (text, false),
                FoundLine::TooLong => {
                    skipped.damaged += 1;
                    return Continue(());
                }
            };
            for part in checksum::parts(text) {
                match self.part(at, part) {
                    Ok(()) => {}
                    Err(UnreadableLine::Newer { .. }) => skipped.newer += 1,
                    // It is being written, or was cut off.
                    Err(UnreadableLine::Damaged) if !is_terminated => {}
                    Err(UnreadableLine::Damaged) => skipped.damaged += 1,
                }
            }
            Continue(())
        });
        skipped.damaged += u64::from(!is_complete);
        progress.numbers.insert(self.segment, self.numbers);
    }

    /// `line_at` is where its line begins in the segment.
    fn part(&mut self, line_at: u64, part: Part<'_>) -> Result<(), UnreadableLine> {
        if part.seal == Seal::Broken {
            return Err(UnreadableLine::Damaged);
        }
        let summary = Summary::parse(part.text);
        let seq = match &summary {
            Ok(summary) => summary.seq,
            Err(UnreadableLine::Newer { seq }) => *seq,
            Err(UnreadableLine::Damaged) => None,
        };
        // A number is never stored without a checksum.
        if part.seal == Seal::Absent && seq.is_some() {
            return Err(UnreadableLine::Damaged);
        }
        if let Some(seq) = seq {
            self.numbers.add(seq);
        }
        let summary = summary?;
        if self.query.matches(&summary) {
            let time = summary.time().unwrap_or(self.start);
            // Content and lines are shorter than 4 GiB.
            let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let place: Place = (self.segment, short(line_at + part.at as u64));
            let length = short(part.text.len() as u64);
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.add(summary, time, place, length);
        }
        Ok(())
    }
}
