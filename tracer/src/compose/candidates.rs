//! The candidate table: each task that the kernel evaluated, its points and their parts.

use oomwhy_common::event::{candidate, mm};

use super::{
    ComposeContext,
    badness::{self, CountedPages, OOM_SCORE_ADJ_MIN},
    ranking::rank,
};
use crate::model::{
    events::{Candidate, Memory},
    report::{self, Candidates, WhyNot, lossy},
};

pub(super) fn candidates(context: ComposeContext<'_>) -> Option<Candidates> {
    let evaluated = context.account.candidates.as_ref()?;
    let rows = evaluated.list.iter().map(|task| (u64::from(task.order), row(context, task)));
    let list = rank(rows.collect());
    Some(Candidates {
        considered: u64::from(evaluated.considered),
        recorded: list.len() as u64,
        list,
    })
}

fn row(context: ComposeContext<'_>, task: &Candidate) -> report::Candidate {
    let invocation = context.account.invocation.as_ref();
    let control = invocation.and_then(|invocation| invocation.control.as_ref());
    let chosen = invocation
        .filter(|invocation| invocation.choice_made)
        .and_then(|invocation| invocation.chosen.as_ref())
        .is_some_and(|chosen| chosen.tgid == task.tgid);
    let eligible = !task.refused && task.points != Some(i64::MIN);
    let adj_pages = control
        .zip(task.oom_score_adj)
        .and_then(|(control, adj)| badness::adj_pages(adj, control.totalpages));
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
    if let Some(memory) = task.memory {
        fill_memory(context, &mut row, memory);
    }
    if eligible {
        let counted = task.memory.and_then(|memory| counted(memory, context.host.page_size));
        let recomputed = counted.zip(adj_pages).and_then(|(counted, adj)| counted.points(adj));
        let kernels =
            task.points.or_else(|| control.filter(|_| chosen).map(|control| control.chosen_points));
        // 5.10 returns the points where no probe sees them; their inputs are exact there.
        row.points = kernels.or(recomputed);
        row.drift_pages =
            kernels.zip(recomputed).and_then(|(points, sum)| badness::drift(points, sum));
    }
    row
}

/// A count below 0 reads as 0 in the kernel, too: `percpu_counter_read_positive()`.
fn positive(counts: [i64; mm::COUNT]) -> impl Fn(usize) -> i64 {
    move |index| counts.get(index).copied().unwrap_or_default().max(0)
}

/// The pages that `oom_badness` adds up.
pub(super) fn counted(memory: Memory, page_size: u64) -> Option<CountedPages> {
    let count = positive(memory.counts);
    let parts = [mm::ANON, mm::FILE, mm::SHMEM].map(&count);
    Some(CountedPages {
        rss: parts.into_iter().try_fold(0_i64, i64::checked_add)?,
        swap: count(mm::SWAP),
        pgtables: badness::whole_pages(memory.pgtables_bytes, page_size)?,
    })
}

fn fill_memory(context: ComposeContext<'_>, row: &mut report::Candidate, memory: Memory) {
    let count = positive(memory.counts);
    row.anon_pages = Some(count(mm::ANON));
    row.file_pages = Some(count(mm::FILE));
    row.shmem_pages = Some(count(mm::SHMEM));
    row.swap_pages = Some(count(mm::SWAP));
    row.pgtables_pages = badness::whole_pages(memory.pgtables_bytes, context.host.page_size);
    row.total_vm_bytes = Some(context.bytes(memory.total_vm));
}

/// The first reason for which `oom_badness` returns `LONG_MIN`, in the order of its checks.
fn why_not(task: &Candidate) -> WhyNot {
    let has = |bit| task.flags & bit != 0;
    if has(candidate::INIT) {
        WhyNot::Init
    } else if task.oom_score_adj == Some(OOM_SCORE_ADJ_MIN) {
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
