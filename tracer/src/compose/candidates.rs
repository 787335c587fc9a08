//! The candidate table: each task weighed, its points and what they are made of.

use oomwhy_common::event::{candidate, mm};

use super::Facts;
use crate::model::{
    events::{Candidate, Memory},
    report::{self, Candidates, WhyNot, lossy},
};

/// The table, best first; those that may not be killed at the end, in the kernel's order.
pub(super) fn candidates(facts: Facts<'_>) -> Option<Candidates> {
    let weighed = facts.account.candidates.as_ref()?;
    let mut list: Vec<(u32, report::Candidate)> =
        weighed.list.iter().map(|task| (task.order, row(facts, task))).collect();
    // Of equal points the kernel takes the later one.
    list.sort_by_key(|(order, row)| match row.points {
        Some(points) if row.eligible => (0, points.saturating_neg(), u32::MAX - order),
        _ if row.eligible => (1, 0, *order),
        _ => (2, 0, *order),
    });
    let mut list: Vec<report::Candidate> = list.into_iter().map(|(_, row)| row).collect();
    for (rank, row) in (1..).zip(list.iter_mut().filter(|row| row.eligible)) {
        row.rank = Some(rank);
    }
    Some(Candidates {
        considered: u64::from(weighed.considered),
        recorded: list.len() as u64,
        list,
    })
}

fn row(facts: Facts<'_>, task: &Candidate) -> report::Candidate {
    let invocation = facts.account.invocation.as_ref();
    let control = invocation.and_then(|invocation| invocation.control.as_ref());
    let chosen = invocation
        .filter(|invocation| invocation.choice_made)
        .and_then(|invocation| invocation.chosen.as_ref())
        .is_some_and(|chosen| chosen.tgid == task.tgid);
    let eligible = !task.refused && task.points != Some(i64::MIN);
    let adj_pages = adj_pages(task.oom_score_adj, control.map(|control| control.totalpages));
    let (comm, comm_hex) = lossy(&task.comm.0);
    let mut row = report::Candidate {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        comm: Some(comm),
        comm_hex,
        uid: task.uid,
        oom_score_adj: task.oom_score_adj,
        adj_pages: eligible.then_some(adj_pages).flatten(),
        eligible,
        why_not: (!eligible).then(|| why_not(task)),
        chosen,
        ..report::Candidate::default()
    };
    let parts = task.memory.map(|memory| fill_memory(facts, &mut row, memory));
    if eligible {
        let sum = parts.zip(adj_pages).map(|(parts, adj)| parts.saturating_add(adj));
        let kernels =
            task.points.or_else(|| control.filter(|_| chosen).map(|control| control.chosen_points));
        // 5.10 returns the points where no probe sees them; their inputs are exact there.
        row.points = kernels.or(sum);
        row.drift_pages = kernels
            .zip(sum)
            .map(|(points, sum)| points.saturating_sub(sum))
            .filter(|&drift| drift != 0);
    }
    row
}

/// `oom_score_adj * (totalpages / 1000)`, the division first: `oom_badness`.
fn adj_pages(oom_score_adj: Option<i32>, totalpages: Option<u64>) -> Option<i64> {
    let unit = i64::try_from(totalpages? / 1000).ok()?;
    Some(i64::from(oom_score_adj?).saturating_mul(unit))
}

/// Fills the memory columns; returns their sum, pages.
fn fill_memory(facts: Facts<'_>, row: &mut report::Candidate, memory: Memory) -> i64 {
    // A shared part below 0 reads as 0: percpu_counter_read_positive().
    let counts = memory.counts.map(|pages| pages.max(0));
    let count = |index: usize| counts.get(index).copied().unwrap_or_default();
    let page_size = facts.host.page_size.max(1);
    let pgtables = i64::try_from(memory.pgtables_bytes / page_size).unwrap_or(i64::MAX);
    row.anon_pages = Some(count(mm::ANON));
    row.file_pages = Some(count(mm::FILE));
    row.shmem_pages = Some(count(mm::SHMEM));
    row.swap_pages = Some(count(mm::SWAP));
    row.pgtables_pages = Some(pgtables);
    row.total_vm_bytes = Some(facts.bytes(memory.total_vm));
    counts.iter().fold(pgtables, |sum, &pages| sum.saturating_add(pages))
}

/// The reasons of `oom_badness`, in its own order.
fn why_not(task: &Candidate) -> WhyNot {
    let has = |bit| task.flags & bit != 0;
    if has(candidate::INIT) {
        WhyNot::Init
    } else if task.oom_score_adj == Some(-1000) {
        WhyNot::OomScoreAdjMin
    } else if has(candidate::OOM_SKIP) {
        WhyNot::OomSkip
    } else if has(candidate::NO_MM) && task.memory.is_none() {
        WhyNot::NoMm
    } else if has(candidate::VFORK) {
        WhyNot::Vfork
    } else {
        WhyNot::Unknown
    }
}
