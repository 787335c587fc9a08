//! The sections `verdict` and `change`: the conclusion, and the first thing to change.

use anstyle::Style;

use super::section;
use crate::{fmt::page::Page, model::report::Verdict, output::view};

/// Writes the headline and the first advice; `oomwhy explain` has the rest.
pub(super) fn write(block: &mut Page, verdict: Option<&Verdict>) {
    let Some(verdict) = verdict else {
        return;
    };
    section(block, "verdict").words("", Style::new().bold(), view::safe(&verdict.headline));
    if let Some(advice) = verdict.advice.first() {
        section(block, "change").words("", Style::new(), view::safe(advice));
    }
}
