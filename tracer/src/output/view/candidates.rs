//! Why that one: the tasks that were evaluated, each with the parts its points are made of.

use anstyle::Style;

use crate::{
    compose::names,
    fmt::{
        chart::stacked,
        table::{Kind, Table, UNKNOWN},
        units::{bytes, count},
    },
    model::report::{Candidate, OomReport, WhyNot},
};

/// The parts of points, in the order in which they are stacked.
pub(crate) const PARTS: [&str; 6] =
    ["anon", "file", "shmem", "swap", "page tables", "oom_score_adj"];

/// A task that may be killed.
#[derive(Clone, Debug)]
pub(crate) struct CandidateRow<'a> {
    pub(crate) task: &'a Candidate,
    pub(crate) name: String,
    /// As [`PARTS`], pages; the last one may be negative.
    pub(crate) parts: [Option<i64>; 6],
}

impl CandidateRow<'_> {
    /// Each part in thousandths of the largest sum of all rows; a negative part has no length.
    pub(crate) fn permilles(&self, largest: i64) -> [u64; 6] {
        self.parts.map(|part| {
            let part = u64::try_from(part.unwrap_or_default()).unwrap_or_default();
            super::permille(part, u64::try_from(largest).unwrap_or_default()).unwrap_or_default()
        })
    }

    fn length(&self) -> i64 {
        let positive = self.parts.iter().flatten().filter(|part| **part > 0);
        positive.fold(0, |sum, part| sum.saturating_add(*part))
    }
}

/// The largest sum of positive parts, which a bar's whole width stands for.
pub(crate) fn largest(rows: &[CandidateRow<'_>]) -> i64 {
    rows.iter().map(CandidateRow::length).max().unwrap_or_default()
}

/// The eligible, best first.
pub(crate) fn eligible(report: &OomReport) -> Vec<CandidateRow<'_>> {
    let list = report.candidates.iter().flat_map(|candidates| &candidates.list);
    list.filter(|task| task.eligible).map(row).collect()
}

fn row(task: &Candidate) -> CandidateRow<'_> {
    let parts = [
        task.anon_pages,
        task.file_pages,
        task.shmem_pages,
        task.swap_pages,
        task.pgtables_pages,
        task.adj_pages,
    ];
    CandidateRow { task, name: names::candidate(task), parts }
}

/// The first rows and the chosen one.
pub(crate) fn brief(mut rows: Vec<CandidateRow<'_>>, limit: usize) -> Vec<CandidateRow<'_>> {
    let mut position = 0;
    rows.retain(|row| {
        position += 1;
        position <= limit || row.task.chosen
    });
    rows
}

/// The rows with their parts in pages, and a bar of `bar` columns if there are any.
pub(crate) fn table(rows: &[CandidateRow<'_>], bar: usize) -> Table {
    let mut table = Table::new(&[
        ("#", Kind::Number),
        ("task", Kind::Text),
        ("points", Kind::Number),
        ("", Kind::Optional(&[""])),
        ("=anon", Kind::Number),
        ("+file", Kind::Optional(&["0"])),
        ("+shmem", Kind::Optional(&["0"])),
        ("+swap", Kind::Optional(&["0"])),
        ("+pgtbl", Kind::Optional(&["0"])),
        ("+weight", Kind::Optional(&["0"])),
        ("+drift", Kind::Optional(&["0"])),
        ("adj", Kind::Optional(&["0"])),
    ]);
    let whole = largest(rows);
    for row in rows {
        let CandidateRow { task, name, parts } = row;
        let rank = number(task.rank.map(i64::from));
        let rank = if task.chosen { format!("> {rank}") } else { rank };
        let bar = stacked(&row.permilles(whole), bar);
        let mut cells = vec![rank, name.clone(), number(task.points), bar];
        cells.extend(parts.map(number));
        let drift = Some(task.drift_pages.unwrap_or(0));
        cells.extend([drift, task.oom_score_adj.map(i64::from)].map(number));
        let style = if task.chosen { Style::new().bold() } else { Style::new() };
        table.row(style, cells);
    }
    table
}

/// A number of a table's cell.
pub(crate) fn number(number: Option<i64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

/// Those that may not be killed, each with the reason.
pub(crate) fn ineligible(report: &OomReport) -> Vec<String> {
    let list = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let others = list.filter(|task| !task.eligible);
    others.map(|task| format!("{} ({})", names::candidate(task), why_not(task))).collect()
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

/// How the points came about.
pub(crate) fn scale(report: &OomReport) -> Vec<String> {
    let Some(candidates) = &report.candidates else {
        return Vec::new();
    };
    let evaluated = format!("{} evaluated", count(candidates.considered, "task"));
    let is_cut = candidates.recorded != candidates.considered;
    let listed = is_cut.then(|| format!("{} listed", candidates.recorded));
    let point = report.page_size.map(|size| format!("1 point = {}", bytes(size)));
    let weight = report.totalpages.map(|totalpages| match totalpages / 1000 {
        0 => "oom_score_adj has no weight in so small a domain".to_owned(),
        weight => format!("oom_score_adj 1 = {}", count(weight, "point")),
    });
    [Some(evaluated), listed, point, weight].into_iter().flatten().collect()
}
