//! One report of the history, by a word.

use std::path::Path;

use jiff::tz::TimeZone;

use super::{Failure, no_match, open, say_skipped};
use crate::{
    commands::exit::Exit,
    history::{
        query::Query,
        scan::{Found, History},
        short_id,
    },
    model::report::Record,
    output::text::list::brief,
};

/// Matches that are listed when there are too many.
const LISTED: usize = 10;

/// The report that a word names, and its line; the latest one without a word. An id is stronger than
/// anything else a word could mean.
pub(in crate::commands) fn pick(
    path: &Path,
    word: Option<&str>,
) -> Result<(Record, Vec<u8>), Failure> {
    let mut query = Query::default();
    if let Some(word) = word {
        query
            .word(word)
            .map_err(|error| Failure { exit: Exit::Usage, message: format!("{word}: {error}") })?;
        query.ids = vec![word.to_owned()];
    }
    let history = open(path)?;
    let findings = history.find(&query).map_err(|error| Failure::runtime(&error))?;
    say_skipped(findings.skipped, false);
    let mut found = findings.found;
    found.retain(|found| found.summary.id.is_some());
    let Some(word) = word else {
        return read(&history, found.last().ok_or_else(|| no_match(path, false))?);
    };
    let named =
        |found: &Found| found.summary.id.as_deref().is_some_and(|id| short_id::names(word, id));
    if found.iter().any(named) {
        found.retain(named);
    }
    match found.as_slice() {
        [] => Err(no_match(path, false)),
        [only] => read(&history, only),
        several => Err(ambiguous(word, several)),
    }
}

fn ambiguous(word: &str, several: &[Found]) -> Failure {
    let zone = TimeZone::system();
    let first = format!("{} reports match {word}, name one of them:", several.len());
    let lines = several.iter().rev().take(LISTED);
    let lines = lines.map(|found| format!("  {}", brief(&found.summary, &zone)));
    let more = several.len().saturating_sub(LISTED);
    let more = (more > 0).then(|| format!("  ... and {more} older ones"));
    let text: Vec<String> = std::iter::once(first).chain(lines).chain(more).collect();
    Failure { exit: Exit::Failure, message: text.join("\n") }
}

fn read(history: &History, found: &Found) -> Result<(Record, Vec<u8>), Failure> {
    let mut stored = Vec::new();
    let one = std::slice::from_ref(found);
    history.lines(one, |line| {
        stored = line.to_vec();
        Ok::<(), Failure>(())
    })?;
    let record = serde_json::from_slice(&stored).map_err(|error| Failure::runtime(&error))?;
    Ok((record, stored))
}
