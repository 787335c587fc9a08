//! The sections of the page, one per question.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use crate::{
    fmt::{
        chart::{GLYPHS, bar},
        page::Page,
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{Growth, OomReport, Outcome},
    output::view::{
        self, Fact, candidates, growth, limits, memory, missing, processes, stacks, timeline,
    },
};

const INDENT: &str = "  ";
/// Columns before the value of a fact.
const FACT: usize = 19;
/// Columns of a bar.
const BAR: usize = 20;
/// Rows of long lists; the JSON has them all.
const ROWS: usize = 16;

/// One of the questions.
fn heading(page: &mut Page, heading: &str) {
    page.empty_line();
    page.words("", AnsiColor::Cyan.on_default().bold(), heading);
}

fn note(page: &mut Page, sentence: &str) {
    page.words(INDENT, Style::new().dimmed(), sentence);
}

fn bold(page: &mut Page, line: &str) {
    page.words(INDENT, Style::new().bold(), line);
}

fn more(page: &mut Page, shown: usize, all: usize, what: &str) {
    if let Some(more @ 1..) = all.checked_sub(shown) {
        note(page, &format!("and {more} more{what}"));
    }
}

fn facts(page: &mut Page, facts: &[Fact]) {
    for Fact { name, value } in facts {
        page.section(&format!("{INDENT}{name}"), FACT).words("", Style::new(), value);
    }
}

/// The victims, the triggering allocation, and the timeline.
pub(super) fn who(page: &mut Page, report: &OomReport, zone: &TimeZone) {
    heading(page, "1. Who was killed, and by whose allocation?");
    let victims = processes::victims(report, zone);
    if victims.is_empty() {
        let answer = match report.outcome {
            Outcome::Killed | Outcome::Unknown => "The victim is not known.",
            _ => "No task.",
        };
        note(page, answer);
    }
    for (index, victim) in victims.iter().take(ROWS).enumerate() {
        let chosen = if victims.len() > 1 && victim.chosen { " (chosen)" } else { "" };
        bold(page, &format!("{}{chosen}", victim.name));
        // The first victim has all its facts, the others only those about memory.
        facts(page, if index == 0 { &victim.facts } else { brief(&victim.facts) });
    }
    more(page, ROWS.min(victims.len()), report.n_victims(), "");
    if let Some(trigger) = processes::trigger(report) {
        let is_own = processes::trigger_is_victim(report);
        let whose = if is_own { "its own" } else { trigger.name.as_str() };
        bold(page, &format!("by an allocation of {whose}"));
        facts(page, &if is_own { processes::request(report) } else { trigger.facts });
    }
    write_timeline(page, report);
}

fn brief(facts: &[Fact]) -> &[Fact] {
    let memory = facts.iter().position(|fact| fact.name == "memory");
    memory.and_then(|memory| facts.get(memory..)).unwrap_or_default()
}

fn write_timeline(page: &mut Page, report: &OomReport) {
    let moments = timeline::moments(report);
    if moments.len() > 1 {
        bold(page, "how it went on");
    }
    for moment in moments.iter().take(if moments.len() > 1 { ROWS } else { 0 }) {
        let style = match moment.kind {
            timeline::MomentKind::Plain => Style::new(),
            timeline::MomentKind::Kill => AnsiColor::Red.on_default(),
            timeline::MomentKind::Back => AnsiColor::Green.on_default(),
        };
        let time = format!("+{}", units::duration(moment.after));
        page.words(&format!("  {time:>10}  "), style, &moment.what);
    }
    more(page, ROWS, moments.len(), " events");
    for stuck in timeline::stuck(report) {
        page.words("       stuck  ", AnsiColor::Red.on_default(), &stuck);
    }
}

/// The limit that was hit, the chain of limits, and the zones of the host.
pub(super) fn limit(page: &mut Page, report: &OomReport) {
    heading(page, "2. Whose limit was hit?");
    page.words(INDENT, Style::new(), limits::owner(report));
    if let Some(below) = limits::below(report) {
        page.words(INDENT, Style::new(), format!("{below}."));
    }
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
        let style = if level.hit { Style::new().bold() } else { Style::new() };
        table.row(
            style,
            vec![
                if level.hit { ">" } else { "" }.to_owned(),
                level.used.clone().unwrap_or_else(unknown),
                level.max.clone().unwrap_or_else(unknown),
                share.map_or_else(|| " ".repeat(BAR), |share| bar(share, BAR)),
                share.map_or_else(String::new, units::percent),
                level.path.clone(),
            ],
        );
    }
    if !chain.is_empty() {
        page.table(INDENT, &table);
    }
    for level in chain.iter().filter(|level| !level.details.is_empty()) {
        note(page, &format!("{}: {}", level.path, level.details.join(", ")));
    }
    if report.limit_chain_truncated {
        note(page, "levels above these are not recorded");
    }
    let zones = report.system.as_ref().map(limits::zones).unwrap_or_default();
    if !zones.is_empty() {
        let mut table = Table::new(&[
            ("zone", Kind::Text),
            ("free", Kind::Number),
            ("min", Kind::Number),
            ("low", Kind::Number),
            ("of", Kind::Number),
        ]);
        for zone in zones {
            let name = std::iter::once(zone.name);
            table.row(Style::new(), name.chain(zone.sizes).collect());
        }
        page.table(INDENT, &table);
    }
}

/// The candidates and their points.
pub(super) fn why(page: &mut Page, report: &OomReport) {
    heading(page, "3. Why that one?");
    if report.candidates.is_none() {
        note(page, "No task was evaluated, or it was not seen.");
        return;
    }
    note(page, &candidates::scale(report).join("; "));
    let all = candidates::eligible(report);
    let n_eligible = all.len();
    let rows = candidates::brief(all, ROWS);
    if !rows.is_empty() {
        page.table(INDENT, &candidates::table(&rows, BAR));
        let legend: Vec<String> = candidates::PARTS
            .iter()
            .zip(GLYPHS)
            .map(|(part, glyph)| format!("{glyph} {part}"))
            .collect();
        note(page, &legend.join("  "));
    }
    more(page, rows.len(), n_eligible, " with fewer points");
    let others = candidates::ineligible(report);
    if !others.is_empty() {
        note(page, &format!("May not be killed: {}", others.join(", ")));
    }
}

/// The kinds of memory, and the growth if it was recorded.
pub(super) fn memory(page: &mut Page, report: &OomReport, zone: &TimeZone) {
    heading(page, "4. What grew?");
    let items = memory::items(report);
    match &report.growth {
        Some(growth) => write_growth(page, growth, zone),
        None => note(page, memory::without_growth(&items)),
    }
    if items.is_empty() {
        return;
    }
    if let Some(of) = memory::note(report) {
        note(page, &format!("{of}:"));
    }
    let mut table = Table::new(&[
        ("", Kind::Text),
        ("size", Kind::Number),
        ("", Kind::Number),
        ("share", Kind::Number),
    ]);
    for item in &items {
        let name = if item.is_part { format!("  {}", item.name) } else { item.name.clone() };
        let bar = item.permille.map_or_else(String::new, |share| bar(share, BAR));
        let share = item.permille.map_or_else(String::new, units::percent);
        let style = if item.is_part { Style::new().dimmed() } else { Style::new() };
        table.row(style, vec![name, item.size.clone(), bar, share]);
    }
    page.table(INDENT, &table);
}

fn write_growth(page: &mut Page, growth: &Growth, zone: &TimeZone) {
    /// Before the chart: an indent, a size of ten columns, and a blank.
    const CHART_LABEL: usize = 13;
    const MAX_CHART: usize = 64;
    const FUNCTIONS: usize = 6;
    if let Some(curve) = growth::curve(growth) {
        let top = units::bytes(curve.top_bytes);
        let columns = page.width().saturating_sub(CHART_LABEL).min(MAX_CHART);
        for (index, row) in curve.rows(columns, 4).iter().enumerate() {
            let label = if index == 0 { top.as_str() } else { "" };
            page.line(Style::new(), format!("  {label:>10} {row}"));
        }
        note(page, &format!("           {}", curve.summary()));
    }
    let facts = growth::facts(growth, zone);
    if !facts.is_empty() {
        note(page, &facts.join(", "));
    }
    let rows = growth::allocations(growth);
    for row in rows.iter().take(growth::MAX_ROWS) {
        let lead = format!("  {:>10} {:>5} ", row.size, row.share);
        page.words(&lead, Style::new(), row.words(FUNCTIONS).join(" < "));
    }
    more(page, growth::MAX_ROWS, rows.len(), " that charged less");
}

/// The advice, the cause, and the evidence.
pub(super) fn change(page: &mut Page, report: &OomReport) {
    heading(page, "5. What to change?");
    let Some(verdict) = &report.verdict else {
        return;
    };
    let also: Vec<String> = verdict.also.iter().map(|also| view::safe(also)).collect();
    let more = if also.is_empty() { String::new() } else { format!(" (also {})", also.join(", ")) };
    if verdict.advice.is_empty() {
        note(page, "Nothing follows from what is known.");
    }
    for advice in &verdict.advice {
        page.words("  * ", Style::new().bold(), view::safe(advice));
    }
    note(page, &format!("Cause: {}{more}. Evidence:", view::safe(&verdict.cause)));
    for evidence in &verdict.evidence {
        page.words("  - ", Style::new(), view::safe(evidence));
    }
}

/// The stacks of the trigger and the victims.
pub(super) fn stacks(page: &mut Page, report: &OomReport) {
    let all = stacks::stacks(report);
    if all.is_empty() {
        return;
    }
    heading(page, "Stacks");
    for stack in all {
        bold(page, &stack.title);
        for frame in &stack.frames {
            page.words("      ", Style::new(), frame);
        }
    }
}

/// The source of the report, and the fields that are not known.
pub(super) fn source(page: &mut Page, report: &OomReport) {
    heading(page, "Source");
    let tier = report.source.tier.name();
    note(page, &format!("report {}, seen by {tier}", view::safe(&report.id)));
    for missing::MissingGroup { fields, why } in missing::groups(&report.source) {
        note(page, &format!("missing {fields}: {why}"));
    }
    if let Some(shed) = view::shed(&report.source) {
        note(page, &shed);
    }
    if let Some(drops) = view::drops(&report.source) {
        note(page, &drops);
    }
}
