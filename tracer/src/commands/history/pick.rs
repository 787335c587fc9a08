//! Finds one report of the history by a word.

use std::path::Path;

use jiff::tz::TimeZone;

use super::{Failure, log_problems, no_match, open};
use crate::{
    commands::exit::Exit,
    fmt::sanitize::Safe,
    history::{
        query::Query,
        scan::{FoundRecord, History, SearchResult},
        short_id,
    },
    model::report::Record,
    output::text::list::brief,
};

/// Matches that are listed if there is more than one.
const MAX_LISTED: usize = 10;

/// The record that a word names, and its line. Without a word, the latest report. If the word is
/// the beginning of an id, its other meanings do not count.
pub(in crate::commands) fn pick(
    path: &Path,
    word: Option<&str>,
) -> Result<(Record, Vec<u8>), Failure> {
    let mut query = Query::default();
    if let Some(word) = word {
        query.word(word).map_err(|error| Failure {
            exit: Exit::Usage,
            message: format!("{}: {}", Safe::from(word), Safe::from(error)),
        })?;
        query.ids = vec![word.to_owned()];
    }
    query.only_reports = word.is_none();
    let history = open(path)?;
    let max_records = if word.is_some() { usize::MAX } else { 1 };
    let result: SearchResult = history.find(&query, max_records);
    let skipped = result.skipped;
    log_problems(&result, false);
    let mut found = result.found;
    let Some(word) = word else {
        return read(
            &history,
            found.last().ok_or_else(|| no_match(path, &[""; 0], skipped, false))?,
        );
    };
    found.retain(|found| found.summary.id.is_some());
    let named = |found: &FoundRecord| {
        found.summary.id.as_deref().is_some_and(|id| short_id::names(word, id))
    };
    if found.iter().any(named) {
        found.retain(named);
    }
    match found.as_slice() {
        [] => Err(no_match(path, &[word], skipped, false)),
        [only] => read(&history, only),
        several => Err(ambiguous(word, several)),
    }
}

fn ambiguous(word: &str, several: &[FoundRecord]) -> Failure {
    let zone = TimeZone::system();
    let first = format!("{} reports match {}:", several.len(), Safe::from(word));
    let line = |found: &FoundRecord| format!("  {}", brief(&found.summary, &zone));
    let mut lines = vec![first];
    lines.extend(several.iter().rev().take(MAX_LISTED).map(line));
    let n_more = several.len().saturating_sub(MAX_LISTED);
    if n_more > 0 {
        lines.push(format!("  ... and {n_more} older ones"));
    }
    lines.push("hint: name one of them by its ID".to_owned());
    Failure { exit: Exit::Failure, message: lines.join("\n") }
}

fn read(history: &History, found: &FoundRecord) -> Result<(Record, Vec<u8>), Failure> {
    let mut stored = Vec::new();
    let one = std::slice::from_ref(found);
    history.lines(one, |line| {
        stored = line.to_vec();
        Ok::<(), Failure>(())
    })?;
    let record = Record::from_json(&stored).map_err(|error| Failure::runtime(&error))?;
    Ok((record, stored))
}
