//! Lines of safe text, and the one way to print them.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write},
    ops::Deref,
};

use anstyle::Style;

use super::{sanitize::Safe, stderr};

/// Lines of [`Safe`] text with the program's own colors. No other escape is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds text to the last line.
    pub(crate) fn push(&mut self, style: Style, text: impl Into<Safe>) {
        let text: Safe = text.into();
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{style}{text}{style:#}");
    }

    pub(crate) fn end_line(&mut self) {
        self.0.push('\n');
    }

    /// Adds a whole line.
    pub(crate) fn line(&mut self, style: Style, text: impl Into<Safe>) {
        self.push(style, text);
        self.end_line();
    }

    pub(crate) fn append(&mut self, more: &Self) {
        self.0.push_str(&more.0);
    }
}

/// Makes each line of a text safe. Tabs stay.
impl From<&str> for Lines {
    fn from(text: &str) -> Self {
        let is_separator = |character: char| matches!(character, '\n' | '\t');
        let parts = text.split_inclusive(is_separator).map(|part| {
            let (line, end) = part.split_at(part.trim_end_matches(is_separator).len());
            String::from(Safe::from(line)) + end
        });
        Self(parts.collect())
    }
}

impl From<String> for Lines {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Lines {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Self> for Lines {
    fn from(lines: &Self) -> Self {
        lines.clone()
    }
}

impl Deref for Lines {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An output for people, which takes nothing but [`Lines`].
#[derive(Debug)]
pub(crate) struct TextOut<W>(W);

impl<W: Write> TextOut<W> {
    pub(crate) fn new(out: W) -> Self {
        Self(out)
    }

    /// Writes lines with one call.
    pub(crate) fn print(&mut self, lines: &Lines) -> io::Result<()> {
        self.0.write_all(lines.as_bytes())?;
        self.0.flush()
    }
}

/// Prints a diagnostic on stderr. If stderr takes nothing, it is dropped.
pub(crate) fn log_stderr(text: impl Into<Lines>) {
    let lines: Lines = text.into();
    stderr::print(&(lines.trim_end_matches('\n').to_owned() + "\n"));
}

#[cfg(test)]
mod tests {
    use anstyle::{AnsiColor, Style};

    use super::{Lines, TextOut};

    #[test]
    fn only_own_colors_are_in_lines() {
        let mut lines = Lines::from("a\u{1b}[2J\r\n\tb\u{85}\n");
        lines.line(AnsiColor::Red.on_default(), "c\u{1b}[31m\nd");
        lines.line(Style::new(), "e");
        let mut out = Vec::new();
        TextOut::new(&mut out).print(&lines).unwrap();
        let expected = "a\\x1b[2J\\r\n\tb\\u{85}\n\u{1b}[31mc\\x1b[31m\\nd\u{1b}[0m\ne\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
