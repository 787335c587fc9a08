//! Lines of the page: headings, wrapped sentences, facts, tables.

use anstyle::{AnsiColor, Style};

use crate::{
    fmt::{
        layout::{columns, paint, wrap},
        table::Table,
    },
    output::explain::view::Fact,
};

/// Columns of a line.
pub(in crate::output::explain) const WIDTH: usize = 98;
const INDENT: &str = "  ";
/// Columns of a fact's name.
const NAME: usize = 16;

/// A page being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// One of the questions.
    pub(super) fn heading(&mut self, heading: &str) {
        self.gap();
        self.line(AnsiColor::Cyan.on_default().bold(), heading);
    }

    pub(super) fn line(&mut self, style: Style, line: &str) {
        self.text.push_str(&paint(style, line.trim_end()));
        self.text.push('\n');
    }

    /// A sentence from the left edge.
    pub(super) fn sentence(&mut self, style: Style, sentence: &str) {
        self.words("", style, sentence);
    }

    /// A sentence behind a lead, wrapped with a hanging indent.
    pub(super) fn words(&mut self, lead: &str, style: Style, sentence: &str) {
        let words: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
        for line in wrap(&words, " ", lead, WIDTH) {
            self.line(style, &line);
        }
    }

    /// An indented sentence.
    pub(super) fn note(&mut self, sentence: &str) {
        self.words(INDENT, Style::new().dimmed(), sentence);
    }

    /// An indented item of a list.
    pub(super) fn item(&mut self, mark: &str, style: Style, sentence: &str) {
        self.words(&format!("{INDENT}{mark} "), style, sentence);
    }

    /// Facts, one a line.
    pub(super) fn facts(&mut self, facts: &[Fact]) {
        for Fact { name, value } in facts {
            self.words(&format!("{INDENT}{name:NAME$} "), Style::new(), value);
        }
    }

    pub(super) fn table(&mut self, table: &Table) {
        for (style, line) in table.lines(WIDTH - columns(INDENT)) {
            self.line(style, &format!("{INDENT}{line}"));
        }
    }
}
