//! The table of tasks as candidates. Points are not in the log: they are recomputed from what the
//! table has.

use super::{
    super::{block::release, bytes, tasks::Row},
    Facts,
};
use crate::{
    compose::{
        badness::{self, CountedPages, OOM_SCORE_ADJ_MIN},
        ranking::rank,
    },
    model::report::{Candidate, Candidates, WhyNot, lossy},
};

/// As many as the other tiers list.
const LISTED: usize = 32;

/// Best first; in the kernel's order where the points of some are not known.
pub(super) fn candidates(facts: Facts<'_>) -> Option<Candidates> {
    let table = facts.block.table.as_ref().filter(|_| !facts.is_mixed("candidates"))?;
    if table.rows.is_empty() {
        return None;
    }
    let rows: Vec<Candidate> = table.rows.iter().map(|row| candidate(facts, row)).collect();
    let is_ranked = rows.iter().all(|row| !row.eligible || row.points.is_some());
    let mut list = if is_ranked { rank((0..).zip(rows).collect()) } else { chosen_first(rows) };
    let chosen = list.iter().position(|row| row.chosen).filter(|at| *at >= LISTED);
    if let Some(chosen) = chosen {
        list.swap(chosen, LISTED - 1);
    }
    list.truncate(LISTED);
    Some(Candidates { considered: table.count, recorded: list.len() as u64, list })
}

/// The kernel's order, in which the chosen one comes first and those that may not be killed last.
fn chosen_first(mut rows: Vec<Candidate>) -> Vec<Candidate> {
    rows.sort_by_key(|row| (!row.eligible, row.eligible && !row.chosen));
    rows
}

fn candidate(facts: Facts<'_>, row: &Row) -> Candidate {
    let why_not = match row {
        Row { tgid: 1, .. } => Some(WhyNot::Init),
        Row { oom_score_adj: OOM_SCORE_ADJ_MIN, .. } => Some(WhyNot::OomScoreAdjMin),
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
        pgtables_pages: facts
            .page_size
            .and_then(|size| badness::whole_pages(row.pgtables_bytes, size)),
        oom_score_adj: Some(row.oom_score_adj),
        total_vm_bytes: facts.bytes(row.total_vm),
        eligible,
        why_not,
        chosen: facts.block.chosen() == Some(row.tgid),
        ..Candidate::default()
    };
    if eligible {
        candidate.adj_pages = adj_pages(facts, row.oom_score_adj);
        candidate.points = points(facts, row, &candidate);
        candidate.drift_pages = drift(&candidate);
    }
    candidate
}

/// Of an oom_score_adj of 0 it is 0, whatever the size of the domain.
fn adj_pages(facts: Facts<'_>, oom_score_adj: i32) -> Option<i64> {
    match oom_score_adj {
        0 => Some(0),
        adj => badness::adj_pages(adj, facts.totalpages?),
    }
}

fn points(facts: Facts<'_>, row: &Row, candidate: &Candidate) -> Option<i64> {
    let sum = counted(candidate, i64::try_from(row.rss).ok()?)?.points(candidate.adj_pages?)?;
    match is_signed(facts) {
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

/// Since 5.9 (9066e5cfb73c) points can be negative; before, 1 was the least. Of a log without a
/// release nobody knows.
fn is_signed(facts: Facts<'_>) -> Option<bool> {
    let hosts = || release(facts.context.kernel.as_ref()?);
    Some(facts.block.release().or_else(hosts)? >= (5, 9))
}

/// The parts can have moved between the sum and its parts.
fn drift(row: &Candidate) -> Option<i64> {
    let parts = [row.anon_pages?, row.file_pages?, row.shmem_pages?];
    let rss = parts.into_iter().try_fold(0_i64, i64::checked_add)?;
    badness::drift(row.points?, counted(row, rss)?.points(row.adj_pages?)?)
}
