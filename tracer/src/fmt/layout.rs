//! Lines of a block: a column of labels, text wrapped or shortened to stay under 80 columns.

use anstyle::Style;

/// Columns of a line, label included.
pub(crate) const WIDTH: usize = 79;
/// Columns of the label, as wide as a time of day and a space.
pub(crate) const LABEL: usize = 9;
/// Columns beside the label.
pub(crate) const BODY: usize = WIDTH - LABEL;

const ELLIPSIS: &str = "...";

/// A block of text being written.
#[derive(Debug, Default)]
pub(crate) struct Block {
    text: String,
}

impl Block {
    /// The text, with an empty line behind it.
    pub(crate) fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    /// Starts a section; its label stands in front of the section's first line only.
    pub(crate) fn section(&mut self, label: &'static str) -> Section<'_> {
        Section { block: self, label }
    }

    /// A sentence behind a label, wrapped.
    pub(crate) fn words(&mut self, label: &str, style: Style, sentence: &str) {
        let words: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
        for (index, line) in wrap(&words, " ", "", BODY).iter().enumerate() {
            self.line(if index == 0 { label } else { "" }, style, line);
        }
    }

    /// Lines of a table, over the whole width.
    pub(crate) fn table(&mut self, lines: &[(Style, String)]) {
        for (style, line) in lines {
            self.text.push_str(&paint(*style, line));
            self.text.push('\n');
        }
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, label: &str, style: Style, body: &str) {
        let label = match label {
            "" => " ".repeat(LABEL),
            _ => paint(Style::new().dimmed(), &format!("{label:LABEL$}")),
        };
        let body = paint(style, body.trim_end());
        self.text.push_str(&label);
        self.text.push_str(&body);
        self.text.push('\n');
    }
}

/// A labelled part of a block.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    block: &'a mut Block,
    label: &'static str,
}

impl Section<'_> {
    /// Facts in a row, wrapped between facts; nothing when there is none.
    pub(crate) fn facts(&mut self, facts: impl IntoIterator<Item = String>) {
        let facts: Vec<String> = facts.into_iter().collect();
        if !facts.is_empty() {
            self.joined(&facts, ", ", "", Style::new());
        }
    }

    /// Words wrapped with a hanging indent: stacks, messages, long lists.
    pub(crate) fn joined(&mut self, words: &[String], joint: &str, lead: &str, style: Style) {
        for line in wrap(words, joint, lead, BODY) {
            self.line(style, &line);
        }
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, style: Style, body: &str) {
        self.block.line(self.label, style, body);
        self.label = "";
    }
}

/// Text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns a text takes; never too few: whatever may be wide counts as wide.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

fn char_columns(character: char) -> usize {
    // Bars and curves are made of block elements.
    let is_narrow = matches!(character, '\0'..'\u{1100}' | '\u{2500}'..='\u{25ff}');
    if is_narrow { 1 } else { 2 }
}

/// A text shortened in the middle: a path between its names, anything else anywhere. The end, which
/// tells more, keeps most.
pub(crate) fn elide(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    if let Some(short) = elide_path(text, width) {
        return short;
    }
    let room = width.saturating_sub(ELLIPSIS.len());
    let tail_room = room - room / 3;
    let head = take_columns(text.chars(), room / 3);
    let tail: String = take_columns(text.chars().rev(), tail_room).chars().rev().collect();
    format!("{head}{ELLIPSIS}{tail}")
}

/// "/first/.../last", or ".../last", with as many of the last names as there is room for. A path
/// whose first names are not known begins with the ellipsis already.
fn elide_path(text: &str, width: usize) -> Option<String> {
    let is_whole = text.starts_with('/');
    let (first, rest) =
        text.strip_prefix(ELLIPSIS).unwrap_or(text).strip_prefix('/')?.split_once('/')?;
    let tails = || std::iter::successors(Some(rest), |tail| Some(tail.split_once('/')?.1));
    let with_first = tails().map(|tail| format!("/{first}/{ELLIPSIS}/{tail}"));
    let without = tails().map(|tail| format!("{ELLIPSIS}/{tail}"));
    with_first.filter(|_| is_whole).chain(without).find(|path| columns(path) <= width)
}

/// As much of a text as takes so many columns.
pub(crate) fn take_columns(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|&character| {
            used += char_columns(character);
            used <= width
        })
        .collect()
}

/// Lines of words; the first begins with `lead`, the others are indented as far. A word that is
/// longer than a line is broken.
pub(crate) fn wrap(words: &[String], joint: &str, lead: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(columns(lead));
    let mut lines = Vec::new();
    let mut line = lead.to_owned();
    let mut is_fresh = true;
    let last = words.len().saturating_sub(1);
    for (index, word) in words.iter().enumerate() {
        let piece = if index == last { word.clone() } else { format!("{word}{joint}") };
        if !is_fresh && columns(&line) + columns(piece.trim_end()) > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        }
        line.push_str(&piece);
        is_fresh = false;
        while columns(line.trim_end()) > width {
            let head = take_columns(line.chars(), width);
            let rest = format!("{indent}{}", line.get(head.len()..).unwrap_or_default());
            lines.push(head);
            line = rest;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::{columns, elide, wrap};

    #[test]
    fn a_long_text_loses_its_middle() {
        assert_eq!(elide("/a/b", 10), "/a/b");
        for (text, width, expected) in [
            ("/kubepods/burstable/pod7/ctr", 22, "/kubepods/.../pod7/ctr"),
            ("/kubepods/burstable/pod7/ctr", 19, "/kubepods/.../ctr"),
            ("/kubepods/burstable/pod7/ctr", 16, ".../pod7/ctr"),
            ("/system.slice/postgresql.service", 16, "/sys...l.service"),
            (".../ube/burstable/pod7/ctr", 18, ".../pod7/ctr"),
            ("kworker/u16:3-events", 12, "kwo...events"),
        ] {
            assert_eq!(elide(text, width), expected);
        }
        for width in 3..40 {
            let path = "/日本/kubepods/burstable/pod7/日本/ctr-app";
            assert!(columns(&elide(path, width)) <= width, "{width}");
        }
    }

    #[test]
    fn words_wrap_with_a_hanging_indent() {
        let words = ["alpha", "beta", "gamma"].map(str::to_owned);
        assert_eq!(wrap(&words, ", ", "in ", 14), ["in alpha, ", "   beta, gamma"]);
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken() {
        let lines = wrap(&["0123456789".to_owned()], ", ", "> ", 6);
        assert_eq!(lines, ["> 0123", "  4567", "  89"]);
    }
}
