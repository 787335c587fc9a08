//! The fields that are missing from one report although the host can provide them, and why.

use std::collections::{BTreeMap, BTreeSet};

use oomwhy_common::valid::shed;

use crate::model::{
    account::{InvocationAccount, Stage, UnseenEnd},
    facts::{Findings, LookupKind},
    reap_and_exit::ReapAndExit,
    report::{Frame, Missing, OomReport, Outcome, Reason},
};

/// A field that is absent, and why.
pub(crate) fn missing(field: impl Into<String>, why: impl Into<String>) -> Missing {
    Missing { field: field.into(), why: why.into() }
}

pub(super) fn add_missing(
    report: &mut OomReport,
    account: &InvocationAccount,
    findings: &Findings,
) {
    add_skipped_probes(report, account);
    add_unfinished_frees(report, account);
    add_replaced_probes(report, account);
    add_lost_exits(report, account);
    add_lost_records(report, account);
    add_unread_memory(report);
    add_unknown_files(report);
    add_unknown_names(report, account, findings);
    add_inexact_victims(report, account);
}

/// A record of the probes did not come.
pub(super) const NO_RECORD: &str =
    "its record did not come: the ring was full, or the kernel skipped the probe";

pub(super) fn add(report: &mut OomReport, field: impl Into<String>, why: impl Into<String>) {
    report.source.missing.push(missing(field, why));
}

pub(super) fn is_named(report: &OomReport, field: &str) -> bool {
    report.source.missing.iter().any(|missing| missing.field == field)
}

/// Probes that the kernel did not run.
fn add_skipped_probes(report: &mut OomReport, account: &InvocationAccount) {
    if is_choice_unseen(report, account) {
        let why = "the kernel skips a probe that is interrupted by itself: a read of \
                   /proc/PID/oom_score on the same CPU";
        add(report, "candidates", why);
    }
    if account.reap_and_exit.values().any(ReapAndExit::began_unseen) {
        let why = "the kernel skips a probe that is interrupted by itself: another process' exit \
                   on the same CPU";
        add(report, "victims[].freed_bytes", why);
    }
}

/// Memory that was being freed when the report was closed.
fn add_unfinished_frees(report: &mut OomReport, account: &InvocationAccount) {
    if account.is_overdue && account.reap_and_exit.values().any(ReapAndExit::end_unseen) {
        let why = "its memory began to come back, and the end of that was not seen: it takes that \
                   long, or the kernel skipped the probe, which another process' exit on the same \
                   CPU had interrupted";
        add(report, "victims[].freed_after_ns", why);
    }
}

/// Whether the probe of candidates, though it is attached, saw nothing of a choice that was made.
fn is_choice_unseen(report: &OomReport, account: &InvocationAccount) -> bool {
    account.invocation.as_ref().is_some_and(|it| it.considered == 0)
        && !is_named(report, "candidates")
        && report.outcome == Outcome::Killed
        && report.reason == Some(Reason::Selection)
        && report.candidates.is_none()
}

/// Victims that were not gone when newer probes replaced the ones that saw them.
fn add_replaced_probes(report: &mut OomReport, account: &InvocationAccount) {
    if !account.is_replaced {
        return;
    }
    let why = "newer probes replaced the ones that saw this kill before that";
    if report.victims.iter().any(|victim| victim.freed_after_ns.is_none()) {
        add(report, "victims[].freed_after_ns", why);
    }
    if report.victims.iter().any(|victim| victim.exited_after_ns.is_none()) {
        add(report, "victims[].exited_after_ns", why);
    }
}

/// Adds the exits of victims that may be gone although no record shows it.
fn add_lost_exits(report: &mut OomReport, account: &InvocationAccount) {
    let why = match account.unseen_end {
        None => return,
        Some(UnseenEnd::RecordLost) => "records were lost meanwhile: the ring was full",
        Some(UnseenEnd::ProbeSkipped) => {
            "the kernel skipped a probe meanwhile: another process' exit on the same CPU had \
             interrupted it"
        }
    };
    if report.victims.iter().any(|victim| victim.exited_after_ns.is_none()) {
        add(report, "victims[].exited_after_ns", why);
    }
    if report.victims.iter().any(|victim| victim.freed_after_ns.is_none()) {
        add(report, "victims[].freed_after_ns", why);
    }
}

fn add_lost_records(report: &mut OomReport, account: &InvocationAccount) {
    if account.invocation.is_none() {
        add(report, "trigger", NO_RECORD);
    }
    let has_evaluated = account.invocation.as_ref().is_some_and(|it| it.considered > 0);
    let are_shed = account.shed.has(shed::CANDIDATES);
    if has_evaluated && account.candidates.is_none() && !are_shed {
        add(report, "candidates", NO_RECORD);
    }
    if account.end.is_none() {
        add(report, "outcome", NO_RECORD);
    }
    if report.outcome == Outcome::Killed && account.victims.is_empty() {
        add(report, "victims", NO_RECORD);
    } else if !account.victims.is_empty()
        && let Some(why) = lost_victims(account, report.victims_total)
    {
        add(report, "victims", why);
    }
    add_lost_details(report, account);
}

/// The reason why some killed processes are not among the victims.
fn lost_victims(account: &InvocationAccount, total: Option<u64>) -> Option<String> {
    if let Some(total) = total {
        let known = u64::try_from(account.victims.len()).unwrap_or(u64::MAX);
        let lost = total.checked_sub(known).filter(|&lost| lost > 0)?;
        return Some(format!("{lost} of {total} records were lost: the buffer of kills was full"));
    }
    // Older probes count marks, and have one ring.
    let lost = account.end.as_ref()?.victims.checked_sub(account.marks).filter(|&lost| lost > 0)?;
    let marked = account.marks + lost;
    Some(format!("{lost} of {marked} records were lost: the ring was full"))
}

/// Adds the fields that are missing because only compact records of the kills arrived.
fn add_lost_details(report: &mut OomReport, account: &InvocationAccount) {
    let n_compact = account.victims.iter().filter(|(_, victim)| victim.is_compact).count();
    if n_compact > 0 && !account.shed.has(shed::VICTIMS) {
        let n_victims = account.victims.len();
        let why = format!(
            "the details of {n_compact} of {n_victims} victims were lost: the ring was full"
        );
        for field in ["victims[].total_vm_bytes", "victims[].vpid"] {
            add(report, field, why.clone());
        }
    }
    if n_compact > 0 && account.invocation.is_none() {
        if report.candidates.is_none() && !account.shed.has(shed::CANDIDATES) {
            add(report, "candidates", NO_RECORD);
        }
        if report.limit_chain.is_none() && !account.shed.has(shed::LEVELS) {
            add(report, "limit_chain", NO_RECORD);
        }
    }
}

/// Processes whose leader has exited: their memory is that of another thread, which was not found.
fn add_unread_memory(report: &mut OomReport) {
    const FIELD: &str = "candidates.anon_pages";
    let rows = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let unread = rows.filter(|row| row.eligible && row.anon_pages.is_none());
    let pids: Vec<String> = unread.map(|row| row.pid.to_string()).collect();
    if !pids.is_empty() && !is_named(report, FIELD) {
        let why = format!(
            "the leader of process {} has exited, and no other thread was found with the memory",
            pids.join(", ")
        );
        add(report, FIELD, why);
    }
}

/// User stacks that consist of addresses only. The kernel looks up the files of a stack only if it
/// can lock the address space at once (`stack_map_get_build_id_offset`). It cannot if another
/// program on this CPU, whose probe disables interrupts as this one's does, has not unlocked it
/// yet: a second tracer's kprobe, where kprobes are breakpoints.
fn add_unknown_files(report: &mut OomReport) {
    let trigger = report.trigger.iter().map(|trigger| ("trigger", &trigger.user_stack));
    let victims = report.victims.iter().map(|victim| ("victims[]", &victim.user_stack));
    let is_bare = |frames: &[Frame]| {
        !frames.is_empty() && frames.iter().all(|frame| frame.build_id.is_none())
    };
    let bare = trigger.chain(victims).filter(|(_, stack)| stack.as_deref().is_some_and(is_bare));
    let keys: BTreeSet<&str> = bare.map(|(key, _)| key).collect();
    let why = "none of its code is in a file with a build id, or the kernel could not look: \
               it does not wait for the lock of the address space";
    for key in keys {
        for part in ["build_id", "file_offset"] {
            add(report, format!("{key}.user_stack.{part}"), why);
        }
    }
}

/// User stacks whose symbols were not found while the report could wait for them.
fn add_unknown_names(report: &mut OomReport, account: &InvocationAccount, findings: &Findings) {
    let refused = findings.refused.get(&account.seq).map(Vec::as_slice).unwrap_or_default();
    if account.stage == Stage::Provisional || !findings.names_asked.contains_key(&account.seq) {
        return;
    }
    let is_unanswered = |pid: i32, stack: &Option<Vec<Frame>>| {
        let has_frames = stack.as_ref().is_some_and(|frames| !frames.is_empty());
        has_frames && !findings.user_names.contains_key(&(account.seq, pid))
    };
    let trigger = report.trigger.as_ref().is_some_and(|it| is_unanswered(it.pid, &it.user_stack));
    let victims = report.victims.iter().any(|it| is_unanswered(it.pid, &it.user_stack));
    let was_asked = !refused.contains(&LookupKind::Stack);
    let fields = [
        (trigger && was_asked, "trigger.user_stack.symbol"),
        (victims && was_asked, "victims.user_stack.symbol"),
        (has_unnamed_kernel_stacks(report), "growth.stacks.kernel_stack.symbol"),
    ];
    for (_, field) in fields.into_iter().filter(|(is_late, _)| *is_late) {
        add(report, field, "reading the symbols took too long; `oomwhy symbolize` does it later");
    }
    let pids = unnamed_growing_processes(report);
    if !pids.is_empty() && !refused.contains(&LookupKind::Growth) {
        let why = format!(
            "no name was found for any frame of process {}: it was gone before its files were \
             opened, they have no symbols, or that took too long; `oomwhy symbolize` does it later",
            pids.join(", ")
        );
        add(report, "growth.stacks.user_stack.symbol", why);
    }
}

/// Whether none of the kernel's addresses in the growth has a name, though the trigger's have.
fn has_unnamed_kernel_stacks(report: &OomReport) -> bool {
    let is_named = |frame: &Frame| frame.symbol.is_some();
    let mut of_trigger = report.trigger.iter().flat_map(|it| &it.kernel_stack).flatten();
    let stacks = report.growth.iter().flat_map(|growth| &growth.stacks);
    let mut of_growth = stacks.flat_map(|stack| &stack.kernel_stack).flatten().peekable();
    of_trigger.any(is_named) && of_growth.peek().is_some() && !of_growth.any(is_named)
}

/// The ids of growing processes that have no frame with a name.
fn unnamed_growing_processes(report: &OomReport) -> Vec<String> {
    let stacks = report.growth.iter().flat_map(|growth| &growth.stacks);
    let mut has_name: BTreeMap<i32, bool> = BTreeMap::new();
    for stack in stacks {
        if let (Some(pid), Some(frames)) = (stack.pid, &stack.user_stack) {
            *has_name.entry(pid).or_default() |= frames.iter().any(|frame| frame.symbol.is_some());
        }
    }
    has_name.iter().filter(|(_, has_name)| !**has_name).map(|(pid, _)| pid.to_string()).collect()
}

/// Without candidates there are no points that show whether this kernel adds the per-CPU batches
/// of the counters.
fn add_inexact_victims(report: &mut OomReport, account: &InvocationAccount) {
    const FIELD: &str = "victims (exact rss)";
    let has_batches = |batches: [i64; 4]| batches.iter().any(|&pages| pages != 0);
    let mut victims = account.victims.iter().map(|(_, victim)| victim);
    let is_open = victims.any(|victim| victim.per_cpu.is_some_and(has_batches));
    let are_shed = account.shed.has(shed::CANDIDATES);
    if report.candidates.is_none() && is_open && are_shed {
        let why = "the candidates were left out, so it is unknown whether the kernel's own \
                   figures include the counts that each CPU still holds (since 7.0 they do): these \
                   do not";
        add(report, FIELD, why);
    } else if report.candidates.is_none() && is_open && !is_named(report, FIELD) {
        let why = "no task was evaluated, so it is unknown whether the kernel's own figures include \
                   the counts that each CPU still holds (since 7.0 they do): these do not";
        add(report, FIELD, why);
    }
}
