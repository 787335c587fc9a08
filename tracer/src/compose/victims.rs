//! The tasks that were marked as victims, with the memory they had then.

use std::collections::BTreeMap;

use oomwhy_common::{event::mm, valid::shed};

use super::{ComposeContext, candidates, cgroups, identity::identity, size_limit::that_fit};
use crate::model::{
    account::InvocationAccount,
    events::{self, Memory},
    reap_and_exit::{ReapAndExit, is_left},
    report::{Candidate, Candidates, MAX_LISTED_VICTIMS, Reaped, Truncated, Victim, lossy},
};

pub(super) fn victims(context: ComposeContext<'_>, candidates: Option<&Candidates>) -> Vec<Victim> {
    let exact = kernel_counts_exactly(context, candidates);
    let sharers = Sharers::new(context.account);
    let reported = listed(context).into_iter().map(|(marked_ns, victim)| {
        let report = report(context, candidates, exact, *marked_ns, victim);
        Victim { shares_mm_with: sharers.shared_with(victim), ..report }
    });
    that_fit(reported)
}

/// The victims that are listed: the first ones, and the chosen one.
fn listed(context: ComposeContext<'_>) -> Vec<&(u64, events::Victim)> {
    let victims = &context.account.victims;
    let mut listed: Vec<_> = victims.iter().take(MAX_LISTED_VICTIMS).collect();
    let mut rest = victims.iter().skip(MAX_LISTED_VICTIMS);
    if let Some(chosen) = rest.find(|(_, victim)| is_chosen(context, victim.task.tgid)) {
        listed.pop();
        listed.push(chosen);
    }
    listed
}

/// The number of killed processes. It exceeds the count of the probes if they wrote the end while
/// the kernel still killed.
pub(super) fn total(account: &InvocationAccount, listed: &[Victim]) -> Option<u64> {
    let counted = account.end.as_ref().and_then(|end| end.processes).map(u64::from);
    let is_cut = listed.len() < account.victims.len();
    let total = counted.or(is_cut.then_some(0))?;
    Some(total.max(known(account))).filter(|&total| total > 0)
}

/// Processes with a record, compact or not.
fn known(account: &InvocationAccount) -> u64 {
    u64::try_from(account.victims.len()).unwrap_or(u64::MAX)
}

/// The victims beyond those that the probes describe in detail, and beyond those that are listed.
pub(super) fn truncated(account: &InvocationAccount, listed: &[Victim]) -> Vec<Truncated> {
    let are_shed = account.shed.has(shed::VICTIMS);
    if !are_shed && listed.len() == account.victims.len() {
        return Vec::new();
    }
    let is_detailed = |victim: &&Victim| {
        let position = account.victims.position(victim.pid);
        let known = position.and_then(|position| account.victims.get(position));
        !are_shed || known.is_some_and(|(_, victim)| !victim.is_compact)
    };
    let detailed = listed.iter().filter(is_detailed).count();
    vec![Truncated {
        field: "victims".to_owned(),
        kept: u64::try_from(detailed).unwrap_or(u64::MAX),
        total: total(account, listed).unwrap_or_else(|| known(account)),
    }]
}

fn report(
    context: ComposeContext<'_>,
    candidates: Option<&Candidates>,
    exact: bool,
    marked_ns: u64,
    victim: &events::Victim,
) -> Victim {
    let task = &victim.task;
    let row = candidates.and_then(|table| table.list.iter().find(|row| row.pid == task.tgid));
    let (comm, comm_hex) = lossy(&task.comm.0);
    let cgroup = task.cgroup_id.map(|id| cgroups::cgroup(context, id));
    let task_context = context.account.contexts.get(&task.tgid);
    let mut report = Victim {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        vpid: victim.vpid.filter(|&vpid| vpid != task.tgid),
        comm: Some(comm),
        comm_hex,
        uid: Some(task.uid),
        owner: cgroup.as_ref().map(|cgroup| cgroups::owner(context, cgroup)).unwrap_or_default(),
        cgroup,
        who: identity(context, task),
        user_stack: task_context
            .and_then(|task_context| task_context.user_stack.as_deref())
            .map(|frames| super::stacks::user_frames(context, task.tgid, frames)),
        chosen: is_chosen(context, task.tgid),
        points: row.and_then(|row| row.points),
        oom_score_adj: task.oom_score_adj,
        marked_at_ns: (!victim.shares_mm).then_some(marked_ns),
        ..Victim::default()
    };
    fill_exit(context, &mut report, marked_ns, victim);
    if let Some(memory) = victim.memory {
        let batches = victim.per_cpu.filter(|_| exact).unwrap_or_default();
        fill_memory(context, &mut report, memory, batches);
        report.swap_bytes = report.swap_bytes.filter(|_| !victim.without_swap);
        report.total_vm_bytes = report.total_vm_bytes.filter(|_| !victim.is_compact);
    }
    report
}

/// The marked victims by their memory, which others may share.
struct Sharers(BTreeMap<Option<u64>, i32>);

impl Sharers {
    fn new(account: &InvocationAccount) -> Self {
        let marked = account.victims.iter().map(|(_, victim)| victim).filter(|it| !it.shares_mm);
        let mut first = BTreeMap::new();
        for victim in marked {
            first.entry(victim.mm).or_insert(victim.task.tgid);
        }
        Self(first)
    }

    /// The victim with whom a task shares its memory: that one was marked before it.
    fn shared_with(&self, mm_sharer: &events::Victim) -> Option<i32> {
        self.0.get(&mm_sharer.mm).copied().filter(|_| mm_sharer.shares_mm)
    }
}

/// How a victim exited, in time since it was marked.
fn fill_exit(
    context: ComposeContext<'_>,
    report: &mut Victim,
    marked_ns: u64,
    victim: &events::Victim,
) {
    // A process that was exiting may have exited before the mark.
    let since = |time: Option<u64>| time.and_then(|time| time.checked_sub(marked_ns));
    let after = context.account.reap_and_exit.get(&victim.task.tgid);
    let is_left = || is_left(victim, after, context.host.visible());
    let is_returning = after.is_some_and(ReapAndExit::end_unseen);
    report.stuck = context.account.is_overdue && !victim.shares_mm && !is_returning && is_left();
    let Some(after) = after else {
        return;
    };
    report.exited_after_ns = since(after.exited_ns);
    report.freed_after_ns = since(after.freed_ns);
    if !victim.shares_mm && after.freed_ns.is_some() {
        report.freed_bytes = after.left.map(|left| context.bytes(resident(&left)));
    }
    let touched = [after.reaper_woken_ns, after.reaping_started_ns, after.reaping_skipped_ns];
    if touched.iter().any(Option::is_some) {
        report.reaped = Some(Reaped {
            woken_after_ns: since(after.reaper_woken_ns),
            started_after_ns: since(after.reaping_started_ns),
            finished_after_ns: since(after.reaping_finished_ns),
            skipped: after.reaping_skipped_ns.map(|_| true),
            bytes: reaped_pages(victim, after).map(|pages| context.bytes(pages)),
        });
    }
}

/// The pages that the OOM reaper freed, if it finished before the victim's own exit freed any.
fn reaped_pages(victim: &events::Victim, after: &ReapAndExit) -> Option<u64> {
    let finished = after.reaping_finished_ns?;
    after.freeing_ns.filter(|&freeing| finished <= freeing)?;
    let before = resident(&victim.memory?.counts);
    before.checked_sub(resident(&after.left?))
}

/// Saturates: a recording may contain any counts.
fn sum(counts: &[i64]) -> i64 {
    counts.iter().copied().fold(0, i64::saturating_add)
}

/// Resident pages. A negative count is a race of its per-CPU parts.
fn resident(counts: &[i64; mm::COUNT]) -> u64 {
    let parts = [mm::ANON, mm::FILE, mm::SHMEM];
    let pages = parts.map(|part| counts.get(part).copied().unwrap_or_default().max(0));
    u64::try_from(sum(&pages)).unwrap_or_default()
}

fn is_chosen(context: ComposeContext<'_>, tgid: i32) -> bool {
    let invocation = context.account.invocation.as_ref();
    let chosen = invocation.and_then(|invocation| invocation.chosen.as_ref());
    chosen.is_some_and(|chosen| chosen.tgid == tgid)
}

fn fill_memory(
    context: ComposeContext<'_>,
    report: &mut Victim,
    memory: Memory,
    batches: [i64; mm::COUNT],
) {
    let bytes = |index: usize| {
        let count = memory.counts.get(index).copied().unwrap_or_default();
        let batch = batches.get(index).copied().unwrap_or_default();
        context.bytes(u64::try_from(count.saturating_add(batch).max(0)).unwrap_or_default())
    };
    report.total_vm_bytes = Some(context.bytes(memory.total_vm));
    report.anon_rss_bytes = Some(bytes(mm::ANON));
    report.file_rss_bytes = Some(bytes(mm::FILE));
    report.shmem_rss_bytes = Some(bytes(mm::SHMEM));
    report.swap_bytes = Some(bytes(mm::SWAP));
    report.pgtables_bytes = Some(memory.pgtables_bytes);
}

/// Whether this kernel's OOM killer sums the per-CPU batches of the counters (7.0 and its
/// back-ports, commit 5898aa8f9a0b) or reads their shared part alone. Neither BTF nor the version
/// shows which. Its own points do: they fit one of the two sums.
fn kernel_counts_exactly(context: ComposeContext<'_>, candidates: Option<&Candidates>) -> bool {
    let Some(candidates) = candidates else {
        return false;
    };
    let drift = |row: &Candidate| row.drift_pages.unwrap_or_default();
    let chosen = candidates.list.iter().find(|row| row.chosen);
    let victim = context
        .account
        .victims
        .iter()
        .map(|(_, victim)| victim)
        .find(|victim| chosen.is_some_and(|row| row.pid == victim.task.tgid));
    let batches = victim.and_then(|victim| victim.per_cpu).map(|batches| sum(&batches));
    let chosen_drift = chosen.map(|row| {
        // If the leader of the process has exited, its parts are those of the marked thread.
        let of_victim = victim.filter(|_| row.anon_pages.is_none());
        of_victim.and_then(|victim| drift_of(context, row, victim)).unwrap_or_else(|| drift(row))
    });
    match (chosen_drift, batches) {
        (Some(0), Some(batches)) if batches != 0 => false,
        (Some(drift), Some(batches)) if drift != 0 && drift == batches => true,
        // Both sums fit the chosen one, or it ran meanwhile: the others decide.
        _ => candidates.list.iter().any(|row| row.eligible && drift(row) != 0),
    }
}

/// The points of a candidate whose parts are unknown, minus the parts of its victim. Pages.
fn drift_of(context: ComposeContext<'_>, row: &Candidate, victim: &events::Victim) -> Option<i64> {
    let counted = candidates::counted(victim.memory?, context.host.page_size)?;
    row.points?.checked_sub(counted.points(row.adj_pages?)?)
}

#[cfg(test)]
mod tests {
    use super::{mm, resident};

    #[test]
    fn resident_pages_of_impossible_counts_do_not_overflow() {
        assert_eq!(resident(&[i64::MAX; mm::COUNT]), i64::MAX.unsigned_abs());
        assert_eq!(resident(&[i64::MIN; mm::COUNT]), 0);
    }
}
