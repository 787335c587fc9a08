//! Why that one: the eligible as a table, best first, the others with the reason.

use anstyle::Style;

use super::{Detail, section};
use crate::{
    fmt::page::Page,
    model::report::OomReport,
    output::view::candidates::{brief, eligible, ineligible, scale, table},
};

const BRIEF_ROWS: usize = 10;

/// Writes the candidates.
pub(super) fn write(block: &mut Page, report: &OomReport, detail: Detail) {
    if report.candidates.is_none() {
        return;
    }
    let all = eligible(report);
    let n_eligible = all.len();
    let rows = brief(all, detail.rows(BRIEF_ROWS));
    let cut = (rows.len() < n_eligible).then(|| format!("{} shown (-v: all)", rows.len()));
    section(block, "why").facts(scale(report).into_iter().chain(cut));
    if !rows.is_empty() {
        block.table("", &table(&rows, 0));
    }
    let mut others = ineligible(report);
    let hidden = others.len().saturating_sub(detail.rows(BRIEF_ROWS));
    others.truncate(detail.rows(BRIEF_ROWS));
    others.extend((hidden > 0).then(|| format!("{hidden} more (-v)")));
    if !others.is_empty() {
        section(block, "").joined("not eligible: ", &others, ", ", Style::new());
    }
}
