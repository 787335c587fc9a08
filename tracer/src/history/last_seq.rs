//! Finds the number of the latest record, so that a new run continues from there.

use std::ops::ControlFlow::{self, Break, Continue};

use serde::Deserialize;

use super::{
    checksum::{self, Part, Seal},
    content::{self, FoundLine},
    directory::{Directory, ListedSegment},
};

/// The only key that is read of a record.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Numbered {
    seq: Option<u64>,
}

/// The numbers in a segment.
#[derive(Default)]
struct Numbers {
    latest: Option<u64>,
    /// The damaged lines after it. They had numbers, too.
    n_damaged: u64,
}

/// The highest number that a record may have had; 0 for a history without numbers. `segments` are
/// given oldest first. Mostly only the latest one is read; of those that an older version wrote,
/// the first line.
pub(super) fn last_seq(directory: &Directory, segments: &[ListedSegment]) -> u64 {
    let mut n_damaged = 0;
    for listed in segments.iter().rev().filter(|listed| listed.is_file) {
        let numbers = read(directory, listed);
        n_damaged += numbers.n_damaged;
        if let Some(latest) = numbers.latest {
            return latest.saturating_add(n_damaged);
        }
    }
    n_damaged
}

/// A segment that cannot be read to its end has the numbers before the damage.
fn read(directory: &Directory, listed: &ListedSegment) -> Numbers {
    let mut numbers = Numbers::default();
    let Ok(mut content) = content::open(directory, &listed.segment) else {
        return numbers;
    };
    let is_complete =
        content::each_line(&mut content, &mut Vec::new(), |_, line| numbers.add(line));
    numbers.n_damaged += u64::from(!is_complete);
    numbers
}

impl Numbers {
    /// Breaks off at a record without a number: so are all others of the segment.
    fn add(&mut self, line: FoundLine<'_>) -> ControlFlow<()> {
        let (FoundLine::Complete(text) | FoundLine::Unterminated(text)) = line else {
            self.n_damaged += 1;
            return Continue(());
        };
        for part in checksum::parts(text) {
            match seq(part) {
                Ok(Some(seq)) => {
                    self.latest = self.latest.max(Some(seq));
                    self.n_damaged = 0;
                }
                Ok(None) => return Break(()),
                Err(()) => self.n_damaged += 1,
            }
        }
        Continue(())
    }
}

/// The number of a record. An error if its line is damaged.
fn seq(part: Part<'_>) -> Result<Option<u64>, ()> {
    let numbered = serde_json::from_slice::<Numbered>(part.text).map_err(|_| ())?;
    match (part.seal, numbered.seq) {
        (Seal::Intact, seq) => Ok(seq),
        (Seal::Absent, None) => Ok(None),
        (Seal::Absent | Seal::Broken, _) => Err(()),
    }
}
