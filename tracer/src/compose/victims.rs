//! Who was marked to die, with the memory it had then.

use oomwhy_common::event::mm;

use super::{Facts, candidates, cgroups, who};
use crate::model::{
    events::{self, Memory},
    reap_and_exit::{ReapAndExit, is_left},
    report::{Candidate, Candidates, Reaped, Victim, lossy},
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
    let cgroup = task.cgroup_id.map(|id| cgroups::cgroup(facts, id));
    let context = facts.account.contexts.get(&task.tgid);
    let mut report = Victim {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        vpid: victim.vpid.filter(|&vpid| vpid != task.tgid),
        comm: Some(comm),
        comm_hex,
        uid: Some(task.uid),
        home: cgroup.as_ref().map(|cgroup| cgroups::home(facts, cgroup)).unwrap_or_default(),
        cgroup,
        who: who::who(facts, task),
        user_stack: context
            .and_then(|context| context.user_stack.as_deref())
            .map(|frames| super::user_frames(facts, task.tgid, frames)),
        chosen: is_chosen(facts, task.tgid),
        points: row.and_then(|row| row.points),
        oom_score_adj: task.oom_score_adj,
        marked_at_ns: (!victim.shares_mm).then_some(marked_ns),
        shares_mm_with: shared_with(facts, victim),
        ..Victim::default()
    };
    become_of(facts, &mut report, marked_ns, victim);
    if let Some(memory) = victim.memory {
        let batches = victim.per_cpu.filter(|_| exact).unwrap_or_default();
        fill_memory(facts, &mut report, memory, batches);
        report.swap_bytes = report.swap_bytes.filter(|_| !victim.without_swap);
    }
    report
}

/// The victim whose memory it shares: the one that was marked before it.
fn shared_with(facts: Facts<'_>, sharer: &events::Victim) -> Option<i32> {
    let mut marked = facts.account.victims.iter().map(|(_, victim)| victim);
    let marked = marked.find(|victim| !victim.shares_mm && victim.mm == sharer.mm);
    marked.filter(|_| sharer.shares_mm).map(|victim| victim.task.tgid)
}

/// What became of a victim, in time since it was marked.
fn become_of(facts: Facts<'_>, report: &mut Victim, marked_ns: u64, victim: &events::Victim) {
    let since = |time: Option<u64>| time.map(|time| time.saturating_sub(marked_ns));
    let after = facts.account.reap_and_exit.get(&victim.task.tgid);
    let is_left = || is_left(victim, after, facts.host.visible());
    let is_returning = after.is_some_and(ReapAndExit::end_unseen);
    report.stuck = facts.account.is_overdue && !victim.shares_mm && !is_returning && is_left();
    let Some(after) = after else {
        return;
    };
    report.exited_after_ns = since(after.exited_ns);
    report.freed_after_ns = since(after.freed_ns);
    if !victim.shares_mm && after.freed_ns.is_some() {
        report.freed_bytes = after.left.map(|left| facts.bytes(resident(&left)));
    }
    let touched = [after.reaper_woken_ns, after.reaping_started_ns, after.reaping_skipped_ns];
    if touched.iter().any(Option::is_some) {
        report.reaped = Some(Reaped {
            woken_after_ns: since(after.reaper_woken_ns),
            started_after_ns: since(after.reaping_started_ns),
            finished_after_ns: since(after.reaping_finished_ns),
            skipped: after.reaping_skipped_ns.map(|_| true),
            bytes: reaped_pages(victim, after).map(|pages| facts.bytes(pages)),
        });
    }
}

/// What the reaper gave back, where it was done before the victim's own exit came to it.
fn reaped_pages(victim: &events::Victim, after: &ReapAndExit) -> Option<u64> {
    let finished = after.reaping_finished_ns?;
    after.freeing_ns.filter(|&freeing| finished <= freeing)?;
    let before = resident(&victim.memory?.counts);
    before.checked_sub(resident(&after.left?))
}

/// Of counts that a recording may have made up.
fn sum(counts: &[i64]) -> i64 {
    counts.iter().copied().fold(0, i64::saturating_add)
}

/// Pages that are resident. Negative counts are races of their per-CPU parts.
fn resident(counts: &[i64; mm::COUNT]) -> u64 {
    let parts = [mm::ANON, mm::FILE, mm::SHMEM];
    let pages = parts.map(|part| counts.get(part).copied().unwrap_or_default().max(0));
    u64::try_from(sum(&pages)).unwrap_or_default()
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
    let victim = facts
        .account
        .victims
        .iter()
        .map(|(_, victim)| victim)
        .find(|victim| chosen.is_some_and(|row| row.pid == victim.task.tgid));
    let batches = victim.and_then(|victim| victim.per_cpu).map(|batches| sum(&batches));
    let chosen_drift = chosen.map(|row| {
        // The parts of a process whose leader has exited are those of the thread that was marked.
        let of_victim = victim.filter(|_| row.anon_pages.is_none());
        of_victim.and_then(|victim| drift_of(facts, row, victim)).unwrap_or_else(|| drift(row))
    });
    match (chosen_drift, batches) {
        (Some(0), Some(batches)) if batches != 0 => false,
        (Some(drift), Some(batches)) if drift != 0 && drift == batches => true,
        // Both sums agree on the chosen one, or it ran meanwhile: ask the others.
        _ => candidates.list.iter().any(|row| row.eligible && drift(row) != 0),
    }
}

/// The points of a row that has no parts, minus the parts of its victim. Pages.
fn drift_of(facts: Facts<'_>, row: &Candidate, victim: &events::Victim) -> Option<i64> {
    let counted = candidates::counted(victim.memory?, facts.host.page_size)?;
    row.points?.checked_sub(counted.points(row.adj_pages?)?)
}

#[cfg(test)]
mod tests {
    use super::{mm, resident};

    #[test]
    fn counts_that_no_machine_has_do_not_overflow() {
        assert_eq!(resident(&[i64::MAX; mm::COUNT]), i64::MAX.unsigned_abs());
        assert_eq!(resident(&[i64::MIN; mm::COUNT]), 0);
    }
}
