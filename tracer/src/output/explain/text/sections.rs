//! The sections of the page, one per question.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::{
    bars::{GLYPHS, bar, chart, stacked},
    page::Page,
};
use crate::{
    fmt::{
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{Growth, OomReport, Outcome},
    output::{
        explain::view::{
            self, candidates, growth, limits, memory as kinds, people, stacks as frames, timeline,
        },
        text::candidates::{PART_COLUMNS, part_cells, points, rank},
    },
};

const BAR: usize = 20;
/// Rows of long lists; the JSON has them all.
const ROWS: usize = 16;

fn marked(is_marked: bool) -> Style {
    if is_marked { Style::new().bold() } else { Style::new() }
}

/// Who was killed, by whose allocation, and how it went on.
pub(super) fn who(page: &mut Page, report: &OomReport, zone: &TimeZone) {
    page.heading("1. Who was killed, and by whose allocation?");
    let victims = people::victims(report, zone);
    if victims.is_empty() {
        let nobody = match report.outcome {
            Outcome::Killed | Outcome::Unknown => "Who is not known.",
            _ => "Nobody.",
        };
        page.note(nobody);
    }
    for (index, victim) in victims.iter().take(ROWS).enumerate() {
        let note = if victims.len() > 1 && victim.chosen { " (chosen)" } else { "" };
        page.line(Style::new().bold(), &format!("  {}{note}", victim.name));
        // The first one in full, of the others what they are.
        let facts = if index == 0 { &victim.facts[..] } else { brief(&victim.facts) };
        page.facts(facts);
    }
    if let Some(more @ 1..) = victims.len().checked_sub(ROWS) {
        page.note(&format!("and {more} more"));
    }
    if let Some(trigger) = people::trigger(report) {
        let is_own = people::trigger_is_victim(report);
        let whose = if is_own { "its own" } else { trigger.name.as_str() };
        page.line(Style::new().bold(), &format!("  by an allocation of {whose}"));
        page.facts(&if is_own { people::request(report) } else { trigger.facts });
    }
    write_timeline(page, report);
}

fn brief(facts: &[view::Fact]) -> &[view::Fact] {
    let memory = facts.iter().position(|fact| fact.name == "memory");
    memory.and_then(|memory| facts.get(memory..)).unwrap_or_default()
}

fn write_timeline(page: &mut Page, report: &OomReport) {
    let moments = timeline::moments(report);
    if moments.len() > 1 {
        page.line(Style::new().bold(), "  how it went on");
    }
    for moment in moments.iter().take(if moments.len() > 1 { ROWS } else { 0 }) {
        let style = match moment.kind {
            timeline::Kind::Plain => Style::new(),
            timeline::Kind::Kill => AnsiColor::Red.on_default(),
            timeline::Kind::Back => AnsiColor::Green.on_default(),
        };
        let time = format!("+{}", units::duration(moment.after));
        page.words(&format!("  {time:>10}  "), style, &moment.what);
    }
    if let Some(more @ 1..) = moments.len().checked_sub(ROWS) {
        page.note(&format!("and {more} more events"));
    }
    for stuck in timeline::stuck(report) {
        page.words("       stuck  ", AnsiColor::Red.on_default(), &stuck);
    }
}

/// Whose limit was hit.
pub(super) fn limit(page: &mut Page, report: &OomReport) {
    page.heading("2. Whose limit was hit?");
    page.words("  ", Style::new(), &limits::owner(report));
    let chain = limits::chain(report);
    let mut table = Table::new(&[
        ("", Kind::Number),
        ("used", Kind::Number),
        ("of max", Kind::Number),
        ("", Kind::Number),
        ("full", Kind::Number),
        ("cgroup", Kind::Text),
    ]);
    for level in &chain {
        let unknown = || UNKNOWN.to_owned();
        let share = level.permille.filter(|_| level.limited);
        table.row(
            marked(level.hit),
            vec![
                if level.hit { ">" } else { "" }.to_owned(),
                level.used.clone().unwrap_or_else(unknown),
                level.max.clone().unwrap_or_else(unknown),
                share.map_or_else(|| " ".repeat(BAR), |share| bar(share, BAR)),
                share.map_or_else(String::new, view::percent),
                level.path.clone(),
            ],
        );
    }
    if !chain.is_empty() {
        page.table(&table);
    }
    for level in chain.iter().filter(|level| !level.rest.is_empty()) {
        page.note(&format!("{}: {}", level.path, level.rest.join(", ")));
    }
    if report.limit_chain_truncated {
        page.note("levels above these are not recorded");
    }
    let zones = limits::zones(report);
    if !zones.is_empty() {
        let mut table = Table::new(&[
            ("zone", Kind::Text),
            ("free", Kind::Number),
            ("min", Kind::Number),
            ("low", Kind::Number),
            ("of", Kind::Number),
        ]);
        for zone in zones {
            table.row(Style::new(), zone.to_vec());
        }
        page.table(&table);
    }
}

/// Why that one.
pub(super) fn why(page: &mut Page, report: &OomReport) {
    page.heading("3. Why that one?");
    let rows = candidates::eligible(report);
    if report.candidates.is_none() {
        page.note("Nobody was weighed, or it was not seen.");
        return;
    }
    page.note(&candidates::scale(report).join("; "));
    let shown: Vec<&candidates::Row<'_>> = rows
        .iter()
        .enumerate()
        .filter(|(at, row)| *at < ROWS || row.task.chosen)
        .map(|it| it.1)
        .collect();
    if !shown.is_empty() {
        page.table(&candidate_table(&shown));
        let legend = candidates::PARTS.iter().zip(GLYPHS);
        let legend: Vec<String> = legend.map(|(part, glyph)| format!("{glyph} {part}")).collect();
        page.note(&legend.join("  "));
    }
    if let Some(more @ 1..) = rows.len().checked_sub(shown.len()) {
        page.note(&format!("{more} more with fewer points"));
    }
    let excused = candidates::excused(report);
    if !excused.is_empty() {
        page.note(&format!("May not be killed: {}", excused.join(", ")));
    }
}

fn candidate_table(rows: &[&candidates::Row<'_>]) -> Table {
    let first =
        [("#", Kind::Number), ("task", Kind::Text), ("points", Kind::Number), ("", Kind::Number)];
    let mut table = Table::new(&[first.as_slice(), &PART_COLUMNS].concat());
    let largest = rows.iter().map(|row| row.length()).max().unwrap_or_default();
    for row in rows {
        let mut cells = vec![
            rank(row.task),
            row.name.clone(),
            points(row.task),
            stacked(&row.permilles(largest), BAR),
        ];
        cells.extend(part_cells(row.task));
        table.row(marked(row.task.chosen), cells);
    }
    table
}

/// What grew: what the memory was, and where it was recorded how it came.
pub(super) fn memory(page: &mut Page, report: &OomReport, zone: &TimeZone) {
    page.heading("4. What grew?");
    if let Some(growth) = &report.growth {
        write_growth(page, growth, zone);
    } else {
        page.note("Growth was not recorded; this is what the memory was in the end.");
    }
    if let Some(note) = kinds::note(report) {
        page.note(&format!("{note}:"));
    }
    let mut table = Table::new(&[
        ("", Kind::Text),
        ("size", Kind::Number),
        ("", Kind::Number),
        ("share", Kind::Number),
    ]);
    let items = kinds::items(report);
    for item in &items {
        let name = if item.is_part { format!("  {}", item.name) } else { item.name.clone() };
        let bar = item.permille.map_or_else(String::new, |share| bar(share, BAR));
        let share = item.permille.map_or_else(String::new, view::percent);
        let style = if item.is_part { Style::new().dimmed() } else { Style::new() };
        table.row(style, vec![name, item.size.clone(), bar, share]);
    }
    if !items.is_empty() {
        page.table(&table);
    }
}

fn write_growth(page: &mut Page, growth: &Growth, zone: &TimeZone) {
    const CHART: usize = 64;
    const FUNCTIONS: usize = 6;
    if let Some(curve) = growth::curve(growth) {
        let top = units::bytes(curve.top_bytes);
        for (index, row) in chart(&curve, CHART, 4).iter().enumerate() {
            let label = if index == 0 { top.as_str() } else { "" };
            page.line(Style::new(), &format!("  {label:>10} {row}"));
        }
        let [first, last] = [curve.first_bytes, curve.last_bytes].map(units::bytes);
        page.note(&format!("           {first} to {last} in {}", units::duration(curve.span)));
    }
    let facts = growth::facts(growth, zone);
    if !facts.is_empty() {
        page.note(&facts.join(", "));
    }
    let places = growth::places(growth);
    for place in places.iter().take(growth::MOST_PLACES) {
        let functions: Vec<&str> =
            place.functions.iter().take(FUNCTIONS).map(String::as_str).collect();
        let lead = format!("  {:>10} {:>5} ", place.size, place.share);
        let whence = if functions.is_empty() { "" } else { ": " };
        let sentence = format!("{}{whence}{}", place.process, functions.join(" < "));
        page.words(&lead, Style::new(), &sentence);
    }
    if let Some(more @ 1..) = places.len().checked_sub(growth::MOST_PLACES) {
        page.note(&format!("and {more} more that took less"));
    }
}

/// What to change.
pub(super) fn change(page: &mut Page, report: &OomReport) {
    page.heading("5. What to change?");
    let Some(verdict) = &report.verdict else {
        return;
    };
    let also = verdict.also.iter().map(|also| view::safe(also));
    let also: Vec<String> = also.collect();
    let also = if also.is_empty() { String::new() } else { format!(" (also {})", also.join(", ")) };
    if verdict.advice.is_empty() {
        page.note("Nothing follows from what is known.");
    }
    for advice in &verdict.advice {
        page.item("*", Style::new().bold(), &view::safe(advice));
    }
    page.note(&format!("Cause: {}{also}. It rests on:", view::safe(&verdict.cause)));
    for evidence in &verdict.evidence {
        page.item("-", Style::new(), &view::safe(evidence));
    }
}

/// Where the trigger and the victims were.
pub(super) fn stacks(page: &mut Page, report: &OomReport) {
    let stacks = frames::stacks(report);
    if stacks.is_empty() {
        return;
    }
    page.heading("Stacks");
    for stack in stacks {
        page.words("  ", Style::new().bold(), &stack.title);
        for frame in &stack.frames {
            page.words("      ", Style::new(), frame);
        }
    }
}

/// Where it comes from, and what is not known.
pub(super) fn source(page: &mut Page, report: &OomReport) {
    page.heading("Source");
    let tier = view::tier(report.source.tier);
    page.note(&format!("report {}, seen by {tier}", view::safe(&report.id)));
    for missing in &report.source.missing {
        page.note(&format!("missing {}: {}", view::safe(&missing.field), view::safe(&missing.why)));
    }
    if let Some(drops @ 1..) = report.source.drops {
        page.note(&format!("{drops} kernel-side records were lost before this report"));
    }
}
