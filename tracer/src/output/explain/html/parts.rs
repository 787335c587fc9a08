//! The sections of the page.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::{chart::chart, flame::flame_graph};
use crate::{
    fmt::units::{self, count, percent},
    model::report::{Growth, OomReport},
    output::view::{
        self, Fact, candidates, growth, limits as chain, memory as kinds, missing, processes, safe,
        stacks as frames, timeline,
    },
};

/// Rows of a list that are shown at once; more open on demand.
const ROWS: usize = 16;

pub(super) fn place_and_time(report: &OomReport, zone: &TimeZone) -> Markup {
    html! {
        @if let Some(time) = report.time { span { (view::moment(time, zone)) } }
        @if let Some(host) = &report.host { span { "host " b { (safe(host)) } } }
        @if let Some(kernel) = &report.kernel { span { "kernel " (safe(kernel)) } }
        @if let Some(repeats) = report.repeats { span { (count(repeats, "time")) } }
    }
}

/// The verdict, and the first thing to change.
pub(super) fn verdict(report: &OomReport) -> Markup {
    let Some(verdict) = &report.verdict else { return html! {} };
    html! {
        section.verdict {
            p.tags {
                span.tag { (safe(&verdict.cause)) }
                @for also in &verdict.also { span.tag.also { (safe(also)) } }
            }
            p.headline { (safe(&verdict.headline)) }
            @if let Some(advice) = verdict.advice.first() {
                p.advice { b { "To change: " } (safe(advice)) }
            }
        }
    }
}

fn facts(facts: &[Fact]) -> Markup {
    html! { dl { @for Fact { name, value } in facts { dt { (name) } dd { (value) } } } }
}

fn process(process: &processes::ProcessView, role: &str) -> Markup {
    html! {
        div.card {
            h3 { (process.name) " " span.role { (role) } }
            (facts(&process.facts))
        }
    }
}

/// The victims, the trigger, and how it went on.
pub(super) fn who(report: &OomReport, zone: &TimeZone) -> Markup {
    let mut victims = processes::victims(report, zone);
    let mut trigger = processes::trigger(report);
    let is_own = processes::trigger_is_victim(report);
    if let ([victim], true) = (victims.as_mut_slice(), is_own) {
        victim.facts.extend(processes::request(report));
        trigger = None;
    }
    let role = |victim: &processes::ProcessView| match (victims.len() > 1 && victim.chosen, is_own)
    {
        (true, _) => "chosen victim",
        (false, true) if victims.len() == 1 => "victim, and the one that allocated",
        (false, _) => "victim",
    };
    html! {
        @if victims.is_empty() { p.note { "No task was killed, or the victim is not known." } }
        div.cards {
            @for victim in victims.iter().take(2) { (process(victim, role(victim))) }
            @if let Some(trigger) = &trigger { (process(trigger, "the task that allocated")) }
        }
        @if victims.len() > 2 {
            details {
                summary { (count(victims.len() - 2, "more victim")) }
                div.cards {
                    @for victim in victims.iter().skip(2) { (process(victim, role(victim))) }
                }
            }
        }
        (when(report))
    }
}

fn when(report: &OomReport) -> Markup {
    let moments = timeline::moments(report);
    let class = |kind| match kind {
        timeline::MomentKind::Plain => "plain",
        timeline::MomentKind::Kill => "kill",
        timeline::MomentKind::Back => "back",
    };
    html! {
        @if moments.len() > 1 {
            h3 { "How it went on" }
            ol.timeline {
                @for moment in moments.iter().take(4 * ROWS) {
                    li class=(class(moment.kind)) {
                        time { "+" (units::duration(moment.after)) } span { (moment.what) }
                    }
                }
                @for stuck in timeline::stuck(report) {
                    li.kill { time { "stuck" } span { (stuck) } }
                }
            }
        }
    }
}

/// A bar that fills so much of its track.
fn bar(permille: u64, class: &str) -> Markup {
    html! {
        div.track { div class=(format!("bar {class}")) style=(width(permille)) {} }
    }
}

fn width(permille: u64) -> String {
    format!("width:{}.{}%", permille / 10, permille % 10)
}

/// The chain of limits.
pub(super) fn limits(report: &OomReport) -> Markup {
    let levels = chain::chain(report);
    let zones = report.system.as_ref().map(chain::zones).unwrap_or_default();
    html! {
        p { (chain::owner(report)) }
        @if let Some(below) = chain::below(report) { p { (below) "." } }
        @if !levels.is_empty() {
            div.chain {
                @for level in &levels {
                    div.level.hit[level.hit] {
                        div.row {
                            span.path {
                                (path(&level.path))
                                @if level.hit { " " span.tag.hit { "hit" } }
                            }
                            span.size {
                                (level.used.as_deref().unwrap_or("?"))
                                span.dim { " of " (level.max.as_deref().unwrap_or("?")) }
                                @if let (true, Some(share)) = (level.limited, level.permille) {
                                    " · " (percent(share))
                                }
                            }
                        }
                        @if let (true, Some(share)) = (level.limited, level.permille) {
                            (bar(share, if level.hit { "full" } else { "used" }))
                        }
                        @if !level.details.is_empty() { p.note { (level.details.join(", ")) } }
                    }
                }
            }
        }
        @if report.limit_chain_truncated { p.note { "Levels above these are not recorded." } }
        @if !zones.is_empty() {
            div.scroll { table {
                thead { tr {
                    th { "zone" }
                    @for size in ["free", "min", "low", "of"] { th.num { (size) } }
                } }
                tbody { @for zone in &zones {
                    tr { td { (zone.name) } @for size in &zone.sizes { td.num { (size) } } }
                } }
            } }
        }
    }
}

/// A cgroup's path, its last name apart. The elements are the same for any path: a name makes none.
fn path(path: &str) -> Markup {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path);
    let above = path.strip_suffix(name).unwrap_or_default();
    html! { span.above { (above) } (name) }
}

pub(super) fn why(report: &OomReport) -> Markup {
    let rows = candidates::eligible(report);
    let largest = candidates::largest(&rows);
    let others = candidates::ineligible(report);
    if report.candidates.is_none() {
        return html! { p.note { "No task was evaluated, or it was not seen." } };
    }
    html! {
        p.note { (candidates::scale(report).join("; ")) }
        @if !rows.is_empty() {
            p.legend {
                @for (index, part) in candidates::PARTS.iter().enumerate() {
                    span { i class=(format!("part p{index}")) {} (part) }
                }
            }
            (candidate_table(rows.get(..ROWS.min(rows.len())).unwrap_or_default(), largest))
        }
        @if rows.len() > ROWS {
            details {
                summary { (rows.len() - ROWS) " more with fewer points" }
                (candidate_table(rows.get(ROWS..).unwrap_or_default(), largest))
            }
        }
        @if !others.is_empty() { p.note { "May not be killed: " (others.join(", ")) } }
    }
}

fn candidate_table(rows: &[candidates::CandidateRow<'_>], largest: i64) -> Markup {
    let number = candidates::number;
    html! {
        div.scroll { table.candidates {
            thead { tr {
                th.num { "#" } th { "task" } th.num { "points" }
                @for part in candidates::PARTS { th.num { (part) } }
                th.num { "adj" }
            } }
            @for row in rows {
                tbody.chosen[row.task.chosen] {
                    tr {
                        td.num { (number(row.task.rank.map(i64::from))) }
                        td { (row.name) @if row.task.chosen { " " span.tag.hit { "chosen" } } }
                        td.num { b { (number(row.task.points)) } }
                        @for (name, part) in candidates::PARTS.iter().zip(row.parts) {
                            td.num.zero[part == Some(0)] data-name=(name) { (number(part)) }
                        }
                        td.num.zero[row.task.oom_score_adj == Some(0)] data-name="adj" {
                            (number(row.task.oom_score_adj.map(i64::from)))
                        }
                    }
                    tr.bars { td {} td colspan="9" {
                        (stacked(&row.permilles(largest)))
                        @if let Some(drift) = row.task.drift_pages {
                            span.dim { "drift " (count(drift, "point")) }
                        }
                    } }
                }
            }
        } }
    }
}

fn stacked(permilles: &[u64]) -> Markup {
    let class = |index: usize| format!("bar part p{index}");
    html! {
        div.track { @for (index, share) in permilles.iter().enumerate() {
            @if *share > 0 { div class=(class(index)) style=(width(*share)) {} }
        } }
    }
}

/// The kinds of memory, and the growth if it was recorded.
pub(super) fn memory(report: &OomReport, zone: &TimeZone) -> Markup {
    let items = kinds::items(report);
    let class = |is_part: bool| if is_part { "open" } else { "used" };
    html! {
        @match &report.growth {
            Some(grown) => { (growth(grown, zone)) (flame_graph(report)) }
            None => p.note { (kinds::without_growth(&items)) },
        }
        @if let (false, Some(note)) = (items.is_empty(), kinds::note(report)) { h3 { (note) } }
        div.kinds {
            @for item in &items {
                div.kind-row.piece[item.is_part] {
                    span.name { (item.name) }
                    (bar(item.permille.unwrap_or_default(), class(item.is_part)))
                    span.size {
                        (item.size)
                        @if let Some(share) = item.permille { span.dim { " · " (percent(share)) } }
                    }
                }
            }
        }
    }
}

/// The function that charged the memory, often the libc's, and its caller.
fn called(row: &growth::AllocationRow) -> String {
    row.functions.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" < ")
}

fn growth(grown: &Growth, zone: &TimeZone) -> Markup {
    let rows = growth::allocations(grown);
    html! {
        @if let Some(curve) = growth::curve(grown) { (chart(&curve)) }
        p.note { (growth::facts(grown, zone).join(", ")) }
        @if !rows.is_empty() {
            h3 { "Charged by process and function" }
            @for row in rows.iter().take(growth::MAX_ROWS) {
                details.allocation {
                    summary {
                        (bar(row.permille, "used"))
                        span.size { (row.size) span.dim { " · " (row.share) } }
                        " " b { (row.process) } " " code { (called(row)) }
                    }
                    ol.stack { @for frame in &row.frames { li { code { (frame) } } } }
                }
            }
            @if rows.len() > growth::MAX_ROWS {
                p.note { (rows.len() - growth::MAX_ROWS) " more charged less" }
            }
        }
    }
}

/// The advice, and its evidence.
pub(super) fn change(report: &OomReport) -> Markup {
    let Some(verdict) = &report.verdict else { return html! {} };
    html! {
        @if verdict.advice.is_empty() {
            p.note { "Nothing follows from what is known." }
        } @else {
            ul.advice { @for advice in &verdict.advice { li { (safe(advice)) } } }
        }
        h3 { "Evidence" }
        ul { @for evidence in &verdict.evidence { li { (safe(evidence)) } } }
    }
}

/// The stacks of the trigger and the victims.
pub(super) fn stacks(report: &OomReport) -> Markup {
    let stacks = frames::stacks(report);
    html! {
        @if !stacks.is_empty() {
            section {
                h2 { "Stacks" }
                @for stack in &stacks {
                    details open[stack.frames.len() <= ROWS] {
                        summary { (stack.title) }
                        ol.stack { @for frame in &stack.frames { li { code { (frame) } } } }
                    }
                }
            }
        }
    }
}

/// The source of the report, and the fields that are not known.
pub(super) fn source(report: &OomReport) -> Markup {
    html! {
        p.note {
            "Report " code { (safe(&report.id)) } ", seen by " (report.source.tier.name()) "."
        }
        @if let Some(shed) = view::shed(&report.source) { p.note { (shed) } }
        @if let Some(drops) = view::drops(&report.source) { p.note { (drops) } }
        @if !report.source.missing.is_empty() {
            h3 { "Not known" }
            dl.missing { @for group in missing::groups(&report.source) {
                dt { (group.fields) } dd { (group.why) }
            } }
        }
    }
}
