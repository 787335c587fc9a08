//! Why that one: the tasks that were weighed, each with the parts its points are made of.

use anstyle::Style;

use super::Detail;
use crate::{
    compose::names,
    fmt::{
        layout::{Block, WIDTH},
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{Candidate, Candidates, OomReport, WhyNot},
};

const BRIEF_ROWS: usize = 10;

/// Writes the candidates: the eligible as a table, best first, the others with the reason.
pub(super) fn write(block: &mut Block, report: &OomReport, detail: Detail) {
    let Some(candidates) = &report.candidates else {
        return;
    };

    let (eligible, others): (Vec<_>, Vec<_>) =
        candidates.list.iter().partition(|candidate| candidate.eligible);
    let shown = |(position, candidate): &(usize, &Candidate)| {
        *position < detail.rows(BRIEF_ROWS) || candidate.chosen
    };
    let mut table = table();
    for (_, candidate) in eligible.iter().copied().enumerate().filter(shown) {
        let style = if candidate.chosen { Style::new().bold() } else { Style::new() };
        table.row(style, cells(candidate));
    }
    block.section("why").facts(scale(report, candidates, eligible.len(), table.len()));
    if !eligible.is_empty() {
        block.table(&table.lines(WIDTH));
    }
    write_others(block, &others, detail);
}

fn scale(
    report: &OomReport,
    candidates: &Candidates,
    eligible: usize,
    shown: usize,
) -> impl Iterator<Item = String> {
    let Candidates { considered, recorded, list: _ } = candidates;
    let point = report.page_size.map(|size| format!("1 point is {}", units::bytes(size)));
    let weight = report.totalpages.map(|totalpages| match totalpages / 1000 {
        0 => "oom_score_adj has no weight in so small a domain".to_owned(),
        weight => format!("1 of adj is {weight} points"),
    });
    let counts = format!("considered {considered}, listed {recorded}");
    let cut = (shown < eligible).then(|| format!("shown {shown} (-v: all)"));
    [Some(counts), cut, point, weight].into_iter().flatten()
}

fn table() -> Table {
    let first = [
        ("#", Kind::Number),
        ("pid", Kind::Number),
        ("comm", Kind::Text),
        ("points", Kind::Number),
    ];
    Table::new(&[first.as_slice(), &PART_COLUMNS].concat())
}

fn cells(candidate: &Candidate) -> Vec<String> {
    let comm = candidate.comm.as_deref();
    let comm = comm
        .map_or_else(|| UNKNOWN.to_owned(), |it| names::comm(it, candidate.comm_hex.as_deref()));
    let mut cells = vec![rank(candidate), candidate.pid.to_string(), comm, points(candidate)];
    cells.extend(part_cells(candidate));
    cells
}

/// The place among the eligible, the chosen one's marked.
pub(crate) fn rank(candidate: &Candidate) -> String {
    let rank = number(candidate.rank.map(i64::from));
    if candidate.chosen { format!("> {rank}") } else { rank }
}

/// The points.
pub(crate) fn points(candidate: &Candidate) -> String {
    number(candidate.points)
}

/// The parts whose sum the points are, in pages, and the oom_score_adj that weighs.
pub(crate) const PART_COLUMNS: [(&str, Kind); 8] = [
    ("=anon", Kind::Number),
    ("+file", Kind::Optional(&["0"])),
    ("+shmem", Kind::Optional(&["0"])),
    ("+swap", Kind::Optional(&["0"])),
    ("+pgtbl", Kind::Optional(&["0"])),
    ("+weight", Kind::Optional(&["0"])),
    ("+drift", Kind::Optional(&["0"])),
    ("adj", Kind::Optional(&["0"])),
];

/// A row of [`PART_COLUMNS`].
pub(crate) fn part_cells(candidate: &Candidate) -> [String; 8] {
    [
        candidate.anon_pages,
        candidate.file_pages,
        candidate.shmem_pages,
        candidate.swap_pages,
        candidate.pgtables_pages,
        candidate.adj_pages,
        Some(candidate.drift_pages.unwrap_or(0)),
        candidate.oom_score_adj.map(i64::from),
    ]
    .map(number)
}

fn number(number: Option<i64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

fn write_others(block: &mut Block, others: &[&Candidate], detail: Detail) {
    let shown = detail.rows(BRIEF_ROWS);
    let mut texts: Vec<String> = others
        .iter()
        .take(shown)
        .map(|candidate| format!("{} ({})", names::candidate(candidate), why_not(candidate)))
        .collect();
    if let Some(hidden @ 1..) = others.len().checked_sub(shown) {
        texts.push(format!("{hidden} more (-v)"));
    }
    if !texts.is_empty() {
        block.section("").joined(&texts, ", ", "not eligible: ", Style::new());
    }
}

/// Why it may not be killed.
pub(crate) fn why_not(candidate: &Candidate) -> &'static str {
    match candidate.why_not {
        Some(WhyNot::OomScoreAdjMin) => "oom_score_adj -1000",
        Some(WhyNot::Init) => "init",
        Some(WhyNot::NoMm) => "no memory of its own",
        Some(WhyNot::OomSkip) => "already reaped",
        Some(WhyNot::Vfork) => "in vfork",
        Some(WhyNot::Unknown) | None => "reason unknown",
    }
}
