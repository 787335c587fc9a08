//! Reads JSON values of a file, one per line or pretty-printed over several. A damaged line loses
//! only itself: it is skipped and counted, as in the history.

use std::io::{self, BufRead};

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::{
    fmt::units::count,
    host::line_reader::{Line, read_line},
    model::report::{MAX_RECORD_BYTES, Record, check_size},
};

/// A value that is read in bounded memory.
pub(super) trait FromJson: Sized {
    fn from_json(json: &[u8]) -> serde_json::Result<Self>;
}

impl FromJson for Record {
    fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        Self::from_json(json)
    }
}

/// With keys of any version.
impl FromJson for Map<String, Value> {
    fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        /// An object takes 600 bytes if it has one key.
        const MAX_VALUES: usize = 1 << 16;
        check_size(json, MAX_VALUES)?;
        serde_json::from_slice(json)
    }
}

/// Counts of values and of damaged lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) values: u64,
    /// Lines that are not readable. A value that is cut off counts once.
    pub(super) damaged: u64,
    /// The number of the first of them.
    pub(super) first_damaged: u64,
}

impl Tally {
    /// A sentence for people. `None` if nothing was skipped.
    pub(super) fn message(self) -> Option<String> {
        let lines = count(self.damaged, "damaged line");
        let first = self.first_damaged;
        match self.damaged {
            0 => None,
            1 => Some(format!("skipped {lines}: line {first}")),
            _ => Some(format!("skipped {lines}: the first is line {first}")),
        }
    }

    fn skip(&mut self, line: u64) {
        if self.damaged == 0 {
            self.first_damaged = line;
        }
        self.damaged += 1;
    }
}

/// For a file without any readable value.
pub(super) const HINT: &str = "hint: give reports as `oomwhy -o json` prints them";

/// Why reading stops early.
pub(super) enum Stopped<E> {
    Unreadable(io::Error),
    /// `handle` wants no more.
    Handler(E),
}

/// Calls `handle` with every value.
pub(super) fn read<T: FromJson, E>(
    mut input: impl BufRead,
    handle: impl FnMut(T) -> Result<(), E>,
) -> Result<Tally, Stopped<E>> {
    let mut reader = Reader { handle, tally: Tally::default(), open: None };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let (read, _) =
            read_line(&mut input, &mut line, MAX_RECORD_BYTES).map_err(Stopped::Unreadable)?;
        match read {
            Line::End => break,
            Line::TooLong => {
                reader.give_up();
                reader.tally.skip(number);
            }
            Line::Complete => reader.line(number, &line).map_err(Stopped::Handler)?,
        }
    }
    reader.give_up();
    Ok(reader.tally)
}

/// A value that began on an earlier line.
struct Open {
    first_line: u64,
    text: Vec<u8>,
    depth: Depth,
}

struct Reader<F> {
    handle: F,
    tally: Tally,
    open: Option<Open>,
}

impl<F> Reader<F> {
    fn line<T: FromJson, E>(&mut self, number: u64, line: &[u8]) -> Result<(), E>
    where
        F: FnMut(T) -> Result<(), E>,
    {
        // Printers indent the lines inside a value. So a line that starts with a brace begins the
        // next value, and the open one is torn.
        if line.first() == Some(&b'{') {
            self.give_up();
        }
        let Some(mut open) = self.open.take() else {
            return self.values(number, line, false);
        };
        open.text.extend(line);
        open.depth.add(line);
        if open.depth.is_in_string || open.text.len() > MAX_RECORD_BYTES {
            self.tally.skip(open.first_line);
        } else if open.depth.levels > 0 {
            self.open = Some(open);
        } else {
            return self.values(open.first_line, &open.text, true);
        }
        Ok(())
    }

    /// Handles the values of a text. One that is only begun is kept open, unless it was before.
    fn values<T: FromJson, E>(&mut self, number: u64, text: &[u8], was_open: bool) -> Result<(), E>
    where
        F: FnMut(T) -> Result<(), E>,
    {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        loop {
            let start = values.byte_offset();
            match values.next() {
                None => return Ok(()),
                Some(Ok(_)) => {
                    let value = text.get(start..values.byte_offset()).unwrap_or_default();
                    let Ok(value) = T::from_json(value) else {
                        self.tally.skip(number);
                        return Ok(());
                    };
                    self.tally.values += 1;
                    (self.handle)(value)?;
                }
                Some(Err(error)) => {
                    let rest = text.get(start..).unwrap_or_default();
                    let mut depth = Depth::default();
                    depth.add(rest);
                    if error.is_eof() && !was_open && depth.is_continued() {
                        let text = rest.to_vec();
                        self.open = Some(Open { first_line: number, text, depth });
                    } else {
                        self.tally.skip(number);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Counts the open value as damaged, because its rest does not come.
    fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            self.tally.skip(open.first_line);
        }
    }
}

/// How deep the end of a text is inside a JSON value.
#[derive(Clone, Copy, Debug, Default)]
struct Depth {
    levels: usize,
    /// A string of JSON has no newline in it: at the end of a line this is damage.
    is_in_string: bool,
    is_escaped: bool,
}

impl Depth {
    fn add(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => self.levels += 1,
                b'}' | b']' => self.levels = self.levels.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_continued(self) -> bool {
        self.levels > 0 && !self.is_in_string
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{MAX_RECORD_BYTES, Tally, read};

    fn read_all(text: &str) -> (Vec<Value>, Tally) {
        let mut values = Vec::new();
        let tally = read(text.as_bytes(), |value: Map<String, Value>| {
            values.push(Value::Object(value));
            Ok::<(), ()>(())
        });
        (values, tally.map_err(|_| ()).unwrap())
    }

    #[test]
    fn damaged_line_loses_only_itself() {
        for torn in [r#"{"a":"to"#, r#"{"a":[1,{"b":2}"#, r#"{"a""#, "rubbish", "}", "{\"a\":1]"] {
            let text = format!("{{\"n\":1}}\n\n{torn}\n{{\"n\":2}}\n");
            let (values, tally) = read_all(&text);
            assert_eq!(values, [json!({"n": 1}), json!({"n": 2})], "{torn}");
            assert_eq!((tally.damaged, tally.first_damaged), (1, 3), "{torn}");
        }
    }

    #[test]
    fn value_over_several_lines_is_read() {
        let value = json!({"a": [{"b": "} \" {"}, 2], "c": {}});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let text = format!("{value}{value}\n {pretty}\n{pretty}");
        let (values, tally) = read_all(&text);
        assert_eq!(values, [(); 4].map(|()| value.clone()));
        assert_eq!((tally.values, tally.damaged), (4, 0));
    }

    #[test]
    fn value_that_takes_too_much_memory_is_skipped() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD_BYTES));
        let many = format!("{{\"a\":[{}0]}}", "{},".repeat(1 << 16));
        for bomb in [long, many] {
            let (values, tally) = read_all(&format!("{bomb}\n{{\"n\":2}}\n"));
            assert_eq!(values, [json!({"n": 2})]);
            assert_eq!(tally.damaged, 1);
        }
    }

    #[test]
    fn torn_value_over_several_lines_counts_once() {
        let (values, tally) = read_all("{\n  \"a\": [\n    1,\n{\"n\":2}\n{\n  \"a\": 1\n");
        assert_eq!(values, [json!({"n": 2})]);
        assert_eq!((tally.damaged, tally.first_damaged), (2, 1));
        assert_eq!(tally.message().unwrap(), "skipped 2 damaged lines: the first is line 1");
    }
}
