//! Tables with aligned columns. Optional columns without information are dropped.

use anstyle::Style;

use super::{
    sanitize::Safe,
    width::{columns, cut, elide},
    wrap::wrap,
};

/// Stands for an unknown value.
pub(crate) const UNKNOWN: &str = "-";

/// Columns that a shortened text keeps: of a path, its last name or so.
const MIN_TEXT: usize = 16;

/// A table whose columns are as wide as their content.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Style, Vec<Safe>),
    Note(Safe),
}

#[derive(Debug)]
struct Column {
    title: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number that is always shown.
    Number,
    /// A number whose column is left out if every row has the same one of these.
    Optional(&'static [&'static str]),
    /// Text; the first such column is shortened if the table is too wide.
    Text,
    /// Text that is shown whole.
    Word,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Kind)]) -> Self {
        let column = |&(title, kind): &(&'static str, Kind)| Column { title, kind };
        Self { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub(crate) fn row(&mut self, style: Style, cells: Vec<String>) {
        self.rows.push(Row::Cells(style, cells.into_iter().map(Safe::from).collect()));
    }

    /// Adds a line below the last row, over all columns.
    pub(crate) fn note(&mut self, text: impl Into<Safe>) {
        self.rows.push(Row::Note(text.into()));
    }

    /// The lines, title line first, none wider than `width`. Columns that do not fit even with the
    /// text shortened go on lines of their own, with their titles.
    pub(crate) fn lines(&self, width: usize) -> Vec<(Style, String)> {
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|&index| self.is_shown(index)).collect();
        let widths = self.widths(&shown, width);
        let mut end = 0;
        let fits = widths.iter().take_while(|&&column| {
            end += column + 1;
            end - 1 <= width
        });
        let (inside, outside) = shown.split_at(fits.count());
        let titles = self.columns.iter().map(|column| Safe::from(column.title)).collect::<Vec<_>>();
        let mut lines = vec![(Style::new().dimmed(), self.aligned(&titles, inside, &widths))];
        for row in &self.rows {
            match row {
                Row::Cells(style, cells) => {
                    lines.push((*style, self.aligned(cells, inside, &widths)));
                    if !outside.is_empty() {
                        let titled = wrap(&self.titled(cells, outside), " ", "    ", width);
                        lines
                            .extend(titled.iter().map(|line| (*style, line.trim_end().to_owned())));
                    }
                }
                Row::Note(text) => lines.push((Style::new(), cut(text, width))),
            }
        }
        lines
    }

    fn aligned(&self, cells: &[Safe], shown: &[usize], widths: &[usize]) -> String {
        let aligned = shown.iter().zip(widths).map(|(&index, &width)| {
            let cell = elide(cells.get(index).map_or("", |cell| cell), width);
            let padding = " ".repeat(width.saturating_sub(columns(&cell)));
            match self.columns.get(index).map(|column| column.kind) {
                Some(Kind::Text | Kind::Word) => format!("{cell}{padding}"),
                _ => format!("{padding}{cell}"),
            }
        });
        aligned.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    fn titled(&self, cells: &[Safe], shown: &[usize]) -> Vec<String> {
        let cell = |&index: &usize| {
            let title = self.columns.get(index).map_or("", |column| column.title);
            format!("{title} {}", cells.get(index).map_or("", |cell| cell))
        };
        shown.iter().map(cell).collect()
    }

    fn cells(&self, index: usize) -> impl Iterator<Item = &str> {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(_, cells) => Some(cells),
            Row::Note(_) => None,
        });
        cells.filter_map(move |cells| cells.get(index)).map(|cell| &**cell)
    }

    fn is_shown(&self, index: usize) -> bool {
        match self.columns.get(index).map(|column| column.kind) {
            Some(Kind::Optional(trivial)) => !trivial
                .iter()
                .any(|trivial| self.cells(index).all(|cell| cell == *trivial || cell == UNKNOWN)),
            _ => true,
        }
    }

    /// Widths of the columns shown; the text column gives up the excess.
    fn widths(&self, shown: &[usize], width: usize) -> Vec<usize> {
        let natural = |&index: &usize| {
            let title = self.columns.get(index).map_or(0, |column| columns(column.title));
            self.cells(index).map(columns).fold(title, usize::max)
        };
        let mut widths: Vec<usize> = shown.iter().map(natural).collect();
        let total = widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
        let excess = total.saturating_sub(width);
        let text = shown.iter().position(|&index| {
            self.columns.get(index).is_some_and(|column| column.kind == Kind::Text)
        });
        if let Some(text_width) = text.and_then(|position| widths.get_mut(position)) {
            let least = MIN_TEXT.min(*text_width);
            *text_width = text_width.saturating_sub(excess).max(least);
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use anstyle::Style;

    use super::{Kind, Table};

    #[test]
    fn columns_align_and_text_column_shrinks() {
        let mut table = Table::new(&[
            ("pid", Kind::Number),
            ("swap", Kind::Optional(&["0"])),
            ("comm", Kind::Text),
        ]);
        for (pid, comm) in [("7", "a-very-long-name-indeed"), ("4242", "java")] {
            let cells = [pid, "0", comm].map(str::to_owned).to_vec();
            table.row(Style::new(), cells);
        }
        let lines: Vec<String> = table.lines(21).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, [" pid comm", "   7 a-ve...me-indeed", "4242 java"]);
    }

    #[test]
    fn columns_without_room_get_their_own_line() {
        let mut table =
            Table::new(&[("a", Kind::Number), ("b", Kind::Number), ("c", Kind::Number)]);
        table.row(Style::new(), ["1234", "567", "89"].map(str::to_owned).to_vec());
        let lines: Vec<String> = table.lines(8).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["   a   b", "1234 567", "    c 89"]);
    }
}
