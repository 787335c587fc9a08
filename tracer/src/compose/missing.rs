//! What one report lacks though the host could give it, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    account::{InvocationAccount, Stage},
    facts::Findings,
    reap_and_exit::ReapAndExit,
    report::{Frame, Missing, OomReport, Outcome, Reason},
};

/// All of it.
pub(super) fn finish(report: &mut OomReport, account: &InvocationAccount, findings: &Findings) {
    skipped(report, account);
    returning(report, account);
    lost(report, account);
    unfound_memory(report);
    unfound_files(report);
    unfound_names(report, account, findings);
    inexact_victims(report, account);
}

/// A probe that did not run.
fn skipped(report: &mut OomReport, account: &InvocationAccount) {
    if chose_unseen(report, account) {
        report.source.missing.push(Missing {
            field: "candidates".to_owned(),
            why: "the kernel skips a probe that is interrupted by itself: a read of \
                  /proc/PID/oom_score on the same CPU"
                .to_owned(),
        });
    }
    if account.reap_and_exit.values().any(ReapAndExit::began_unseen) {
        report.source.missing.push(Missing {
            field: "victims[].freed_bytes".to_owned(),
            why:
                "the kernel skips a probe that is interrupted by itself: another process' exit on \
                  the same CPU"
                    .to_owned(),
        });
    }
}

/// Memory that had begun to come back when the report was closed.
fn returning(report: &mut OomReport, account: &InvocationAccount) {
    if account.is_overdue && account.reap_and_exit.values().any(ReapAndExit::end_unseen) {
        report.source.missing.push(Missing {
            field: "victims[].freed_after_ns".to_owned(),
            why: "its memory began to come back, and the end of that was not seen: it takes that \
                  long, or the kernel skipped the probe, which another process' exit on the same CPU \
                  had interrupted"
                .to_owned(),
        });
    }
}

/// Whether a choice was made of which the probe of candidates saw nothing, though it is attached.
fn chose_unseen(report: &OomReport, account: &InvocationAccount) -> bool {
    let unseen = account.invocation.as_ref().is_some_and(|it| it.considered == 0);
    let is_named = report.source.missing.iter().any(|missing| missing.field == "candidates");
    unseen
        && !is_named
        && report.outcome == Outcome::Killed
        && report.reason == Some(Reason::Selection)
        && report.candidates.is_none()
}

/// Records that were lost.
fn lost(report: &mut OomReport, account: &InvocationAccount) {
    let victims_lost =
        account.end.as_ref().map_or(0, |end| end.victims.saturating_sub(account.marks));
    let missing = &mut report.source.missing;
    let mut lost = |field: &str| {
        missing.push(Missing {
            field: field.to_owned(),
            why: "its record was lost: the ring was full".to_owned(),
        });
    };
    if account.invocation.is_none() {
        lost("trigger");
    }
    let considered =
        account.invocation.as_ref().is_some_and(|invocation| invocation.considered > 0);
    if considered && account.candidates.is_none() {
        lost("candidates");
    }
    if account.end.is_none() {
        lost("outcome");
    }
    if report.outcome == Outcome::Killed && account.victims.is_empty() {
        lost("victims");
    } else if victims_lost > 0 && !account.victims.is_empty() {
        let marked = account.marks + victims_lost;
        missing.push(Missing {
            field: "victims".to_owned(),
            why: format!("{victims_lost} of {marked} records were lost: the ring was full"),
        });
    }
}

/// Processes whose leader has exited: their memory is that of another thread, which was not found.
fn unfound_memory(report: &mut OomReport) {
    const FIELD: &str = "candidates.anon_pages";
    let rows = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let unfound = rows.filter(|row| row.eligible && row.anon_pages.is_none()).map(|row| row.pid);
    let pids: Vec<String> = unfound.map(|pid| pid.to_string()).collect();
    if !pids.is_empty() && !is_named(report, FIELD) {
        let why = format!(
            "the leader of process {} has exited, and no other thread was found with the memory",
            pids.join(", ")
        );
        report.source.missing.push(Missing { field: FIELD.to_owned(), why });
    }
}

/// Stacks in user space of addresses and nothing else. The kernel looks up their files only where it
/// can lock the address space at once, and it cannot where another program on this CPU, whose probe
/// has interrupts off as this one's, has not unlocked it yet (`stack_map_get_build_id_offset`): a
/// second tracer's kprobe, where kprobes are breakpoints.
fn unfound_files(report: &mut OomReport) {
    let trigger = report.trigger.iter().map(|trigger| ("trigger", &trigger.user_stack));
    let victims = report.victims.iter().map(|victim| ("victims[]", &victim.user_stack));
    let is_bare = |frames: &[Frame]| {
        !frames.is_empty() && frames.iter().all(|frame| frame.build_id.is_none())
    };
    let bare = trigger.chain(victims).filter(|(_, stack)| stack.as_deref().is_some_and(is_bare));
    let whose: BTreeSet<&str> = bare.map(|(whose, _)| whose).collect();
    for field in whose.into_iter().flat_map(|whose| {
        ["build_id", "file_offset"].map(|part| format!("{whose}.user_stack.{part}"))
    }) {
        let why = "none of its code is in a file with a build id, or the kernel could not look: \
                   it does not wait for the lock of the address space";
        report.source.missing.push(Missing { field, why: why.to_owned() });
    }
}

/// Stacks in user space of which no answer came while the report could wait for it.
fn unfound_names(report: &mut OomReport, account: &InvocationAccount, findings: &Findings) {
    if account.stage == Stage::Provisional || !findings.names_asked.contains(&account.seq) {
        return;
    }
    let came = |pid| findings.user_names.contains_key(&(account.seq, pid));
    let has = |stack: &Option<Vec<Frame>>| stack.as_ref().is_some_and(|frames| !frames.is_empty());
    let trigger = report.trigger.as_ref().is_some_and(|it| has(&it.user_stack) && !came(it.pid));
    let mut victims = report.victims.iter();
    let victim = victims.any(|it| has(&it.user_stack) && !came(it.pid));
    let fields = [
        (trigger, "trigger.user_stack.symbol"),
        (victim, "victims.user_stack.symbol"),
        (has_unnamed_kernel(report), "growth.stacks.kernel_stack.symbol"),
    ];
    for (_, field) in fields.into_iter().filter(|(is_late, _)| *is_late) {
        let why = "reading the symbols took too long; `oomwhy symbolize` does it later".to_owned();
        report.source.missing.push(Missing { field: field.to_owned(), why });
    }
    let pids = unnamed_growers(report);
    if !pids.is_empty() {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let why = format!(
            "no name was found for any frame of process {}: it was gone before its files were \
             opened, they have no symbols, or that took too long; `oomwhy symbolize` does it later",
            pids.join(", ")
        );
        let field = "growth.stacks.user_stack.symbol".to_owned();
        report.source.missing.push(Missing { field, why });
    }
}

/// Whether no address in the kernel has a name where memory grew, though the trigger's have.
fn has_unnamed_kernel(report: &OomReport) -> bool {
    let named = |frame: &Frame| frame.symbol.is_some();
    let mut triggers = report.trigger.iter().flat_map(|it| &it.kernel_stack).flatten();
    let growth = report.growth.iter().flat_map(|growth| &growth.stacks);
    let mut growth = growth.flat_map(|stack| &stack.kernel_stack).flatten().peekable();
    triggers.any(named) && growth.peek().is_some() && !growth.any(named)
}

/// Processes that grew in frames of which none has a name.
fn unnamed_growers(report: &OomReport) -> BTreeSet<i32> {
    let stacks = report.growth.iter().flat_map(|growth| &growth.stacks);
    let named = |frame: &Frame| frame.symbol.is_some();
    let mut is_named: BTreeMap<i32, bool> = BTreeMap::new();
    for stack in stacks {
        if let (Some(pid), Some(frames)) = (stack.pid, &stack.user_stack) {
            *is_named.entry(pid).or_default() |= frames.iter().any(named);
        }
    }
    is_named.into_iter().filter(|(_, is_named)| !is_named).map(|(pid, _)| pid).collect()
}

/// Nobody was weighed, so no points tell whether this kernel adds what CPUs hold back.
fn inexact_victims(report: &mut OomReport, account: &InvocationAccount) {
    const FIELD: &str = "victims (exact rss)";
    let holds_back = |batches: [i64; 4]| batches.iter().any(|&pages| pages != 0);
    let mut victims = account.victims.iter().map(|(_, victim)| victim);
    let is_open = victims.any(|victim| victim.per_cpu.is_some_and(holds_back));
    if report.candidates.is_none() && is_open && !is_named(report, FIELD) {
        let why = "nobody was weighed, so nothing tells whether this kernel's own figures include \
                   what CPUs hold back (since 7.0 they do): these do not";
        report.source.missing.push(Missing { field: FIELD.to_owned(), why: why.to_owned() });
    }
}

fn is_named(report: &OomReport, field: &str) -> bool {
    report.source.missing.iter().any(|missing| missing.field == field)
}
