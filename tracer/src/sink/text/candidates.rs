//! Why that one: the tasks that were weighed, each with the parts its points are made of.

use anstyle::Style;

use super::{
    Detail,
    layout::{Block, WIDTH},
    names,
    table::{Kind, Table, UNKNOWN},
    units,
};
use crate::report::{Candidate, Candidates, OomReport, WhyNot};

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
    Table::new(&[
        ("#", Kind::Number),
        ("pid", Kind::Number),
        ("comm", Kind::Text),
        ("points", Kind::Number),
        ("=anon", Kind::Number),
        ("+file", Kind::Optional(&["0"])),
        ("+shmem", Kind::Optional(&["0"])),
        ("+swap", Kind::Optional(&["0"])),
        ("+pgtbl", Kind::Optional(&["0"])),
        ("+weight", Kind::Optional(&["0"])),
        ("+drift", Kind::Optional(&["0"])),
        ("adj", Kind::Optional(&["0"])),
    ])
}

fn cells(candidate: &Candidate) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    let number = |number: Option<i64>| number.map_or_else(unknown, |number| number.to_string());
    let comm = candidate.comm.as_deref();
    let rank = candidate.rank.map_or_else(unknown, |rank| rank.to_string());
    vec![
        if candidate.chosen { format!("> {rank}") } else { rank },
        candidate.pid.to_string(),
        comm.map_or_else(unknown, |comm| names::comm(comm, candidate.comm_hex.as_deref())),
        number(candidate.points),
        number(candidate.anon_pages),
        number(candidate.file_pages),
        number(candidate.shmem_pages),
        number(candidate.swap_pages),
        number(candidate.pgtables_pages),
        number(candidate.adj_pages),
        candidate.drift_pages.unwrap_or(0).to_string(),
        number(candidate.oom_score_adj.map(i64::from)),
    ]
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

fn why_not(candidate: &Candidate) -> &'static str {
    match candidate.why_not {
        Some(WhyNot::OomScoreAdjMin) => "oom_score_adj -1000",
        Some(WhyNot::Init) => "init",
        Some(WhyNot::NoMm) => "no memory of its own",
        Some(WhyNot::OomSkip) => "already reaped",
        Some(WhyNot::Vfork) => "in vfork",
        Some(WhyNot::Unknown) | None => "reason unknown",
    }
}
