//! Who was marked to die, with the memory it had then.

use oomwhy_common::event::mm;

use super::{Facts, cgroups};
use crate::{
    events::{self, Memory},
    report::{Candidate, Candidates, Victim, lossy},
};

pub(super) fn victims(facts: Facts<'_>, candidates: Option<&Candidates>) -> Vec<Victim> {
    let exact = kernel_counts_exactly(facts, candidates);
    let victims = facts.account.victims.iter();
    victims
        .map(|(marked_ns, victim)| report(facts, candidates, exact, *marked_ns, victim))
        .collect()
}

fn report(
    facts: Facts<'_>,
    candidates: Option<&Candidates>,
    exact: bool,
    marked_ns: u64,
    victim: &events::Victim,
) -> Victim {
    let task = &victim.task;
    let row = candidates.and_then(|table| table.list.iter().find(|row| row.pid == task.tgid));
    let (comm, comm_hex) = lossy(&task.comm.0);
    let mut report = Victim {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        vpid: victim.vpid.filter(|&vpid| vpid != task.tgid),
        comm: Some(comm),
        comm_hex,
        uid: Some(task.uid),
        start_time: task.start_boottime_ns.and_then(|started| facts.time(started)),
        cgroup: task.cgroup_id.map(|id| cgroups::cgroup(facts, id)),
        chosen: is_chosen(facts, task.tgid),
        points: row.and_then(|row| row.points),
        oom_score_adj: task.oom_score_adj,
        marked_at_ns: Some(marked_ns),
        ..Victim::default()
    };
    if let Some(memory) = victim.memory {
        let batches = victim.per_cpu.filter(|_| exact).unwrap_or_default();
        fill_memory(facts, &mut report, memory, batches);
    }
    report
}

fn is_chosen(facts: Facts<'_>, tgid: i32) -> bool {
    let invocation = facts.account.invocation.as_ref();
    let chosen = invocation.and_then(|invocation| invocation.chosen.as_ref());
    chosen.is_some_and(|chosen| chosen.tgid == tgid)
}

fn fill_memory(facts: Facts<'_>, report: &mut Victim, memory: Memory, batches: [i64; mm::COUNT]) {
    let bytes = |index: usize| {
        let count = memory.counts.get(index).copied().unwrap_or_default();
        let batch = batches.get(index).copied().unwrap_or_default();
        facts.bytes(u64::try_from(count.saturating_add(batch).max(0)).unwrap_or_default())
    };
    report.total_vm_bytes = Some(facts.bytes(memory.total_vm));
    report.anon_rss_bytes = Some(bytes(mm::ANON));
    report.file_rss_bytes = Some(bytes(mm::FILE));
    report.shmem_rss_bytes = Some(bytes(mm::SHMEM));
    report.swap_bytes = Some(bytes(mm::SWAP));
    report.pgtables_bytes = Some(memory.pgtables_bytes);
}

/// Whether this kernel's OOM killer sums the per-CPU batches of the counters (7.0 and its
/// back-ports, commit 5898aa8f9a0b) or reads their shared part alone. No BTF and no version says
/// which; its own points do: they fit one of the two sums.
fn kernel_counts_exactly(facts: Facts<'_>, candidates: Option<&Candidates>) -> bool {
    let Some(candidates) = candidates else {
        return false;
    };
    let drift = |row: &Candidate| row.drift_pages.unwrap_or_default();
    let chosen = candidates.list.iter().find(|row| row.chosen);
    let batches = facts
        .account
        .victims
        .iter()
        .find(|(_, victim)| chosen.is_some_and(|row| row.pid == victim.task.tgid))
        .and_then(|(_, victim)| victim.per_cpu)
        .map(|batches| batches.iter().sum::<i64>());
    match (chosen.map(drift), batches) {
        (Some(0), Some(batches)) if batches != 0 => false,
        (Some(drift), Some(batches)) if drift != 0 && drift == batches => true,
        // Both sums agree on the chosen one, or it ran meanwhile: ask the others.
        _ => candidates.list.iter().any(|row| row.eligible && drift(row) != 0),
    }
}
