//! JSON that is printed to a terminal.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::sanitize::is_unsafe;

/// Writes characters that act on a terminal, hide, or reorder others as `\u` escapes. It stays the
/// same JSON: such characters only stand in strings.
#[derive(Debug)]
pub(crate) struct TerminalJson<W> {
    out: W,
    /// The beginning of a character whose rest was not written yet.
    begun: Vec<u8>,
}

impl<W> TerminalJson<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }
}

impl<W: Write> Write for TerminalJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        self.begun = all.split_off(all.len() - begun_at_end(&all));
        self.out.write_all(escaped(&all).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes at the end that begin a character.
fn begun_at_end(bytes: &[u8]) -> usize {
    let of_last = |&count: &usize| {
        let first = bytes[bytes.len() - count];
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        length > count
    };
    (1..=bytes.len().min(3)).find(of_last).unwrap_or_default()
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\n' => text.push(character),
            _ if is_unsafe(character) => escape(&mut text, character),
            _ => text.push(character),
        }
    }
    text
}

/// Adds a character as JSON's `\u` escapes.
pub(crate) fn escape(text: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::{Value, json};

    use super::TerminalJson;

    #[test]
    fn unsafe_characters_are_escaped_and_it_stays_the_same_json() {
        let hostile = "\u{1b}]0;x\u{7}\u{9b}\u{7f}\u{202e}\u{e0041}käse 日本😀";
        let value = json!({ hostile: [hostile, 1, null] });
        let text = value.to_string() + "\n";
        for step in 1..5 {
            let mut shown = Vec::new();
            let mut out = TerminalJson::new(&mut shown);
            text.as_bytes().chunks(step).for_each(|part| out.write_all(part).unwrap());
            let shown = String::from_utf8(shown).unwrap();
            let is_safe = |character| !super::is_unsafe(character);
            assert!(shown.trim_end_matches('\n').chars().all(is_safe), "{shown:?}");
            assert!(shown.contains("käse 日本😀") && shown.ends_with('\n'), "{shown}");
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn bytes_that_are_no_json_are_safe_as_well() {
        let mut shown = Vec::new();
        TerminalJson::new(&mut shown).write_all(b"\x1b[2J\xff\x9b\xe2(\n").unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "\\u001b[2J\u{fffd}\u{fffd}\u{fffd}(\n");
    }
}
