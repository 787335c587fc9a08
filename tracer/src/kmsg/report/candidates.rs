//! The table of tasks as candidates. Points are not in the log: they are recomputed from the values
//! in the table.

use super::{
    super::parser::{block::release, bytes, tasks::TaskRow},
    ReportInput,
};
use crate::{
    compose::{
        badness::{self, CountedPages, OOM_SCORE_ADJ_MIN},
        ranking::rank,
    },
    model::report::{Candidate, Candidates, WhyNot, lossy},
};

/// The other tiers list as many.
const LISTED: usize = 32;

/// Ranked if the points of all are known, else in the kernel's order.
pub(super) fn candidates(input: ReportInput<'_>) -> Option<Candidates> {
    let table = input.block.table.as_ref().filter(|_| !input.is_mixed("candidates"))?;
    if table.rows.is_empty() {
        return None;
    }
    let rows: Vec<Candidate> = table.rows.iter().map(|row| candidate(input, row)).collect();
    let is_ranked = rows.iter().all(|row| !row.eligible || row.points.is_some());
    let mut list = if is_ranked { rank((0..).zip(rows).collect()) } else { chosen_first(rows) };
    let chosen = list.iter().position(|row| row.chosen).filter(|at| *at >= LISTED);
    if let Some(chosen) = chosen {
        list.swap(chosen, LISTED - 1);
    }
    list.truncate(LISTED);
    Some(Candidates { considered: table.count, recorded: list.len() as u64, list })
}

/// Puts the chosen one first and those that may not be killed last.
fn chosen_first(mut rows: Vec<Candidate>) -> Vec<Candidate> {
    rows.sort_by_key(|row| (!row.eligible, row.eligible && !row.chosen));
    rows
}

fn candidate(input: ReportInput<'_>, row: &TaskRow) -> Candidate {
    let why_not = match row {
        TaskRow { tgid: 1, .. } => Some(WhyNot::Init),
        TaskRow { oom_score_adj: OOM_SCORE_ADJ_MIN, .. } => Some(WhyNot::OomScoreAdjMin),
        _ => None,
    };
    let eligible = why_not.is_none();
    let pages = |pages: u64| i64::try_from(pages).ok();
    let part = |index: usize| row.rss_parts.and_then(|parts| pages(*parts.get(index)?));
    let (comm, comm_hex) = lossy(&bytes::bytes(&row.comm));
    let mut candidate = Candidate {
        pid: row.tgid,
        tid: (row.tid != row.tgid).then_some(row.tid),
        comm: (!comm.is_empty()).then_some(comm),
        comm_hex,
        uid: Some(row.uid),
        anon_pages: part(0),
        file_pages: part(1),
        shmem_pages: part(2),
        rss_pages: row.rss_parts.is_none().then(|| pages(row.rss)).flatten(),
        swap_pages: pages(row.swapents),
        pgtables_pages: input
            .page_size
            .and_then(|size| badness::whole_pages(row.pgtables_bytes, size)),
        oom_score_adj: Some(row.oom_score_adj),
        total_vm_bytes: input.bytes(row.total_vm),
        eligible,
        why_not,
        chosen: input.block.chosen() == Some(row.tgid),
        ..Candidate::default()
    };
    if eligible {
        candidate.adj_pages = adj_pages(input, row.oom_score_adj);
        candidate.points = points(input, row, &candidate);
        candidate.drift_pages = drift(&candidate);
    }
    candidate
}

/// An oom_score_adj of 0 adds 0, even if the size of the domain is not known.
fn adj_pages(input: ReportInput<'_>, oom_score_adj: i32) -> Option<i64> {
    match oom_score_adj {
        0 => Some(0),
        adj => badness::adj_pages(adj, input.totalpages?),
    }
}

fn points(input: ReportInput<'_>, row: &TaskRow, candidate: &Candidate) -> Option<i64> {
    let sum = counted(candidate, i64::try_from(row.rss).ok()?)?.points(candidate.adj_pages?)?;
    match is_signed(input) {
        _ if sum > 0 => Some(sum),
        Some(true) => Some(sum),
        Some(false) => Some(1),
        None => None,
    }
}

fn counted(candidate: &Candidate, rss: i64) -> Option<CountedPages> {
    let Candidate { swap_pages, pgtables_pages, .. } = *candidate;
    Some(CountedPages { rss, swap: swap_pages?, pgtables: pgtables_pages? })
}

/// Whether points can be negative: since 5.9 (9066e5cfb73c); before, they were at least 1. `None`
/// if the log does not contain the kernel's release.
fn is_signed(input: ReportInput<'_>) -> Option<bool> {
    let hosts = || release(input.context.kernel.as_ref()?);
    Some(input.block.release().or_else(hosts)? >= (5, 9))
}

/// The kernel prints the sum and its parts one after the other, so they can differ.
fn drift(row: &Candidate) -> Option<i64> {
    let parts = [row.anon_pages?, row.file_pages?, row.shmem_pages?];
    let rss = parts.into_iter().try_fold(0_i64, i64::checked_add)?;
    badness::drift(row.points?, counted(row, rss)?.points(row.adj_pages?)?)
}
