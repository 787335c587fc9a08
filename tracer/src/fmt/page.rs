//! Text being written line by line: labels, wrapped words, tables. Every text output uses it.

use anstyle::Style;

use super::{table::Table, width::columns, wrap::wrap};

/// Text of lines that are not wider than `width`.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    width: usize,
}

impl Page {
    pub(crate) fn new(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    pub(crate) fn empty_line(&mut self) {
        self.text.push('\n');
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, style: Style, line: &str) {
        self.section("", 0).line(style, line);
    }

    /// A sentence behind a lead, wrapped below the lead's end.
    pub(crate) fn words(&mut self, lead: &str, style: Style, sentence: &str) {
        self.section("", 0).words(lead, style, sentence);
    }

    /// A table, each line behind the indent.
    pub(crate) fn table(&mut self, indent: &str, table: &Table) {
        for (style, line) in table.lines(self.width.saturating_sub(columns(indent))) {
            self.line(style, &format!("{indent}{line}"));
        }
    }

    /// Lines in a column of their own. The label, dimmed, stands in front of the first of them.
    pub(crate) fn section(&mut self, label: &str, column: usize) -> Section<'_> {
        Section { page: self, label: label.to_owned(), column }
    }
}

/// A labelled part of a page.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    page: &'a mut Page,
    label: String,
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
        let facts: Vec<String> = facts.into_iter().collect();
        if !facts.is_empty() {
            self.joined("", &facts, ", ", Style::new());
        }
    }

    /// A sentence, wrapped between words.
    pub(crate) fn words(&mut self, lead: &str, style: Style, sentence: &str) {
        let words: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
        self.joined(lead, &words, " ", style);
    }

    /// Words behind a lead, with a hanging indent: stacks, long lists.
    pub(crate) fn joined(&mut self, lead: &str, words: &[String], joint: &str, style: Style) {
        for line in wrap(words, joint, lead, self.width()) {
            self.line(style, &line);
        }
    }

    /// One line as it is.
    pub(crate) fn line(&mut self, style: Style, body: &str) {
        let label = std::mem::take(&mut self.label);
        let trimmed = body.trim_end();
        let padding = " ".repeat(self.column.saturating_sub(columns(&label)));
        let text = &mut self.page.text;
        if !label.is_empty() {
            text.push_str(&paint(Style::new().dimmed(), &label));
        }
        if !trimmed.is_empty() {
            text.push_str(&padding);
            text.push_str(&paint(style, trimmed));
        }
        text.push('\n');
    }
}

/// Text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
