//! The report as JSON to copy: plain ASCII, so that nothing in it hides or reorders visible text.

use std::fmt::Write as _;

use crate::{model::report::Record, pipeline::sink::SinkError};

/// Indented, everything but printable ASCII as `\u` escapes: the same JSON.
pub(super) fn pretty(record: &Record) -> Result<String, SinkError> {
    let json = serde_json::to_string_pretty(record).map_err(SinkError::Encode)?;
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~' | '\n') {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    Ok(text)
}
