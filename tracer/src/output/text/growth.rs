//! The recorded growth: the curve in one line, and the stacks that allocated most.

use anstyle::Style;

use super::{Detail, section};
use crate::{
    fmt::page::Page,
    model::report::OomReport,
    output::view::growth::{allocations, curve, pace},
};

/// Columns of the curve.
const COLUMNS: usize = 24;
const BRIEF_ROWS: usize = 3;
/// Functions of each row.
const BRIEF_FUNCTIONS: usize = 4;

/// Writes the recorded growth.
pub(super) fn write(block: &mut Page, report: &OomReport, detail: Detail) {
    let Some(growth) = &report.growth else {
        return;
    };
    let mut lines = section(block, "growth");
    let curve = curve(growth)
        .map(|curve| format!("{} {}", curve.rows(COLUMNS, 1).concat(), curve.summary()));
    lines.facts(curve.into_iter().chain(pace(growth)));
    for row in allocations(growth).iter().take(detail.rows(BRIEF_ROWS)) {
        let mut words = row.words(detail.rows(BRIEF_FUNCTIONS));
        if let Some(first) = words.first_mut() {
            first.insert_str(0, &format!("{} ({}) ", row.size, row.share));
        }
        lines.joined("  ", &words, " < ", Style::new());
    }
}
