//! Why that one: the tasks that were weighed, each as a stack of the parts of its points.

use crate::{
    compose::names,
    fmt::units,
    model::report::{Candidate, OomReport},
    output::text::candidates::why_not,
};

/// The parts of points, in the order in which they are stacked.
pub(in crate::output::explain) const PARTS: [&str; 6] =
    ["anon", "file", "shmem", "swap", "page tables", "oom_score_adj"];

/// A candidate.
#[derive(Clone, Debug)]
pub(in crate::output::explain) struct Row<'a> {
    pub(in crate::output::explain) task: &'a Candidate,
    pub(in crate::output::explain) name: String,
    /// As [`PARTS`], pages; the last one may be negative.
    pub(in crate::output::explain) parts: [Option<i64>; 6],
}

impl Row<'_> {
    /// Each part in thousandths of the largest sum of all rows; what is negative has no length.
    pub(in crate::output::explain) fn permilles(&self, largest: i64) -> [u64; 6] {
        self.parts.map(|part| {
            let part = u64::try_from(part.unwrap_or_default()).unwrap_or_default();
            super::permille(part, u64::try_from(largest).unwrap_or_default()).unwrap_or_default()
        })
    }

    /// Length of the row: the parts that are not negative.
    pub(in crate::output::explain) fn length(&self) -> i64 {
        self.parts
            .iter()
            .flatten()
            .filter(|part| **part > 0)
            .fold(0, |sum, part| sum.saturating_add(*part))
    }
}

/// The eligible, best first.
pub(in crate::output::explain) fn eligible(report: &OomReport) -> Vec<Row<'_>> {
    let list = report.candidates.iter().flat_map(|candidates| &candidates.list);
    list.filter(|task| task.eligible).map(row).collect()
}

fn row(task: &Candidate) -> Row<'_> {
    Row {
        task,
        name: names::candidate(task),
        parts: [
            task.anon_pages,
            task.file_pages,
            task.shmem_pages,
            task.swap_pages,
            task.pgtables_pages,
            task.adj_pages,
        ],
    }
}

/// Those that may not be killed, each with the reason.
pub(in crate::output::explain) fn excused(report: &OomReport) -> Vec<String> {
    let list = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let excused = list.filter(|task| !task.eligible);
    excused.map(|task| format!("{} ({})", names::candidate(task), why_not(task))).collect()
}

/// How the points came about.
pub(in crate::output::explain) fn scale(report: &OomReport) -> Vec<String> {
    let Some(candidates) = &report.candidates else {
        return Vec::new();
    };
    let counts = format!("{} tasks weighed, {} listed", candidates.considered, candidates.recorded);
    let point = report.page_size.map(|size| format!("a point is a page of {}", units::bytes(size)));
    let weight = report.totalpages.map(|totalpages| match totalpages / 1000 {
        0 => "oom_score_adj has no weight in so small a domain".to_owned(),
        weight => format!("1 of oom_score_adj weighs {weight} points"),
    });
    [Some(counts), point, weight].into_iter().flatten().collect()
}
