//! Text being written line by line: labels, wrapped words, tables. Every text output uses it.

use anstyle::Style;

use super::{lines::Lines, sanitize::Safe, table::Table, width::columns, wrap::wrap};

/// Text of lines that are not wider than `width`.
#[derive(Debug)]
pub(crate) struct Page {
    lines: Lines,
    width: usize,
}

impl Page {
    pub(crate) fn new(width: usize) -> Self {
        Self { lines: Lines::default(), width }
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn finish(self) -> Lines {
        self.lines
    }

    pub(crate) fn empty_line(&mut self) {
        self.lines.end_line();
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, style: Style, line: impl Into<Safe>) {
        self.section("", 0).line(style, line);
    }

    /// A sentence behind a lead, wrapped below the lead's end.
    pub(crate) fn words(&mut self, lead: &str, style: Style, sentence: impl Into<Safe>) {
        self.section("", 0).words(lead, style, sentence);
    }

    /// A table, each line behind the indent.
    pub(crate) fn table(&mut self, indent: &str, table: &Table) {
        for (style, line) in table.lines(self.width.saturating_sub(columns(indent))) {
            self.line(style, format!("{indent}{line}"));
        }
    }

    /// Lines in a column of their own. The label, dimmed, stands in front of the first of them.
    pub(crate) fn section(&mut self, label: &str, column: usize) -> Section<'_> {
        Section { page: self, label: label.into(), column }
    }
}

/// A labelled part of a page.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    page: &'a mut Page,
    label: Safe,
    /// Columns before the section's text, label included.
    column: usize,
}

impl Section<'_> {
    /// Columns of its text in a line.
    pub(crate) fn width(&self) -> usize {
        self.page.width.saturating_sub(self.column)
    }

    /// Facts in a row, wrapped between facts; nothing when there is none.
    pub(crate) fn facts(&mut self, facts: impl IntoIterator<Item = String>) {
        let pieces: Vec<String> = facts.into_iter().collect();
        if !pieces.is_empty() {
            self.joined("", &pieces, ", ", Style::new());
        }
    }

    /// A sentence, wrapped between words.
    pub(crate) fn words(&mut self, lead: &str, style: Style, sentence: impl Into<Safe>) {
        self.joined(lead, &words(&sentence.into(), self.width()), " ", style);
    }

    /// Words behind a lead, with a hanging indent: stacks, long lists.
    pub(crate) fn joined(&mut self, lead: &str, words: &[String], joint: &str, style: Style) {
        for line in wrap(words, joint, lead, self.width()) {
            self.line(style, line);
        }
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, style: Style, body: impl Into<Safe>) {
        let label = std::mem::take(&mut self.label);
        let body: Safe = body.into();
        let trimmed = body.trim_end();
        let padding = " ".repeat(self.column.saturating_sub(columns(&label)));
        let lines = &mut self.page.lines;
        if !label.is_empty() {
            lines.push(Style::new().dimmed(), label);
        }
        if !trimmed.is_empty() {
            lines.push(Style::new(), padding);
            lines.push(style, trimmed);
        }
        lines.end_line();
    }
}

/// Stands for a blank that does not end a word. Text that was sanitized does not have it.
const KEPT_BLANK: &str = "\0";
/// Columns of a line that a command leaves for the text right before and after it.
const BESIDE_COMMAND: usize = 8;

/// The words of a sentence. A command in backquotes is one word, because a broken one cannot be
/// copied, unless a line is too short for it.
fn words(sentence: &str, width: usize) -> Vec<String> {
    let parts: Vec<&str> = sentence.split('`').collect();
    let is_balanced = parts.len() % 2 == 1;
    let marked = parts.iter().enumerate().map(|(index, part)| {
        let is_command = is_balanced && index % 2 == 1;
        let is_short = columns(part) + BESIDE_COMMAND <= width;
        if is_command && is_short { part.replace(' ', KEPT_BLANK) } else { (*part).to_owned() }
    });
    let sentence = marked.collect::<Vec<_>>().join("`");
    sentence.split(' ').map(|word| word.replace(KEPT_BLANK, " ")).collect()
}

#[cfg(test)]
mod tests {
    use anstyle::Style;

    use super::Page;
    use crate::fmt::lines::Lines;

    fn wrapped(sentence: &str, width: usize) -> Lines {
        let mut page = Page::new(width);
        page.words("", Style::new(), sentence);
        page.finish()
    }

    #[test]
    fn command_in_backquotes_is_broken_only_if_no_line_has_room_for_it() {
        let sentence = "as root, `mount -t tracefs none /t`, or else";
        assert_eq!(&*wrapped(sentence, 35), "as root,\n`mount -t tracefs none /t`, or else\n");
        assert_eq!(&*wrapped(sentence, 24), "as root, `mount -t\ntracefs none /t`, or\nelse\n");
        assert_eq!(&*wrapped("an odd ` quote", 8), "an odd `\nquote\n");
    }
}
