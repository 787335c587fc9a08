//! The host's memory when it ran out: the free memory, the zones that are short, and the largest
//! kinds of memory.

use std::time::Duration;

use super::{Detail, section};
use crate::{
    compose::verdict::figures_are_of_the_moment,
    fmt::{
        page::{Page, Section},
        units,
    },
    model::report::{OomReport, System},
    output::view::{
        limits::{ZoneRow, zones},
        memory::{free_of, largest, of_host, swap},
    },
};

/// Zones that are shown.
const BRIEF_ROWS: usize = 4;
/// Kinds of memory that are shown.
const BRIEF_KINDS: usize = 5;

/// Writes the figures.
pub(super) fn write(block: &mut Page, report: &OomReport, detail: Detail) {
    let Some(system) = &report.system else {
        return;
    };
    let mut lines = section(block, "system");
    let free = system.free_bytes.map(|free| free_of(free, system.total_bytes));
    let age = system.age_ns.map(Duration::from_nanos);
    let read = age.map(|age| format!("read {} later", units::duration(age)));
    lines.facts([free, swap(system), read].into_iter().flatten());
    write_zones(&mut lines, system, detail, figures_are_of_the_moment(report));
    lines.facts(largest(&of_host(system), detail.rows(BRIEF_KINDS), 0));
}

/// The zones that are short of memory; on demand all of them. Figures that were read when memory
/// was back are no proof that no zone was short.
fn write_zones(lines: &mut Section<'_>, system: &System, detail: Detail, of_the_moment: bool) {
    let rows = zones(system);
    if rows.is_empty() {
        return;
    }
    let is_shown = |zone: &&ZoneRow| detail == Detail::Full || zone.below.is_some();
    for zone in rows.iter().filter(is_shown).take(detail.rows(BRIEF_ROWS)) {
        let ZoneRow { name, sizes: [free, min, low, _], below } = zone;
        let mark = below.map(|mark| format!(", below {mark}")).unwrap_or_default();
        lines.facts([format!("{name}: free {free}, min {min}, low {low}{mark}")]);
    }
    let short = rows.iter().filter(|zone| zone.below.is_some()).count();
    if short == 0 && of_the_moment {
        lines.facts(["no zone is below its low watermark".to_owned()]);
    } else if let more @ 1.. = short.saturating_sub(detail.rows(BRIEF_ROWS)) {
        lines.facts([format!("{} below the low watermark", units::count(more, "more zone"))]);
    }
}
