//! The report as JSON to copy: plain ASCII, so that nothing in it hides or reorders visible text.

use crate::{fmt::terminal_json::escape, model::report::Record, pipeline::sink::SinkError};

/// Indented, everything but printable ASCII as `\u` escapes: the same JSON.
pub(super) fn pretty(record: &Record) -> Result<String, SinkError> {
    let json = serde_json::to_string_pretty(record).map_err(SinkError::Encode)?;
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~' | '\n') {
            text.push(character);
        } else {
            escape(&mut text, character);
        }
    }
    Ok(text)
}
