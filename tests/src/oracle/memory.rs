//! Compares the victim's memory, with tolerances that depend on how exact the kernel's figures are.
//!
//! Up to 6.x the OOM killer and its log read the same figures as any tracer. From 7.0 on both read
//! exact sums of counters, while a tracer reads approximations. Then the parts may differ by the
//! pages that the CPUs hold back, but the sum must be exact once `drift_pages` is added.
//!
//! Up to 6.1 a task holds back some pages, and adds them to the counters of its memory when it
//! exits. A killed task may do that on another CPU between its mark and the kernel's print. So may,
//! on later kernels, a CPU with its part of a counter. The programs of the scenarios sleep, except
//! the one that asks for memory. A helper process of the tracer runs.

use serde_json::Value;

use super::check::{Check, has_numbers, number};
use crate::facts::Facts;
use crate::kmsg::Kill;

pub(super) const PAGE_BYTES: i64 = 4096;

/// The part of one counter that two CPUs may hold back: each percpu_counter_batch, 32 pages.
/// <https://github.com/torvalds/linux/blob/v6.12/lib/percpu_counter.c>
pub(super) const HELD_BACK_PAGES: i64 = 64;

/// The page faults whose pages a task may hold back: it adds them to the counters at the first
/// event after TASK_RSS_EVENTS_THRESH, 64.
/// <https://github.com/torvalds/linux/blob/v6.1/mm/memory.c>
const TASK_HOLDS_BACK_FAULTS: i64 = 65;

/// The pages of a file that one page fault may map: fault_around_bytes, 64 KiB. The programs of the
/// guest are in a tmpfs, so the kernel counts their pages as shared memory.
/// <https://github.com/torvalds/linux/blob/v6.1/mm/memory.c>
const FAULT_AROUND_PAGES: i64 = 16;

/// The process of the tracer that offers itself when the whole machine is out of memory.
pub(super) const HELPER: &str = "oomwhy-names";

const PARTS: [&str; 3] = ["anon_rss_bytes", "file_rss_bytes", "shmem_rss_bytes"];

/// Whether this kernel's OOM killer reads more exact values than a tracer can. A report whose tasks
/// may not be killed has no points that show the difference.
pub(super) fn is_drifting(facts: &Facts, report: &Value) -> bool {
    facts.oom_killer_sums_exactly()
        || candidates(report).any(|candidate| number(candidate, "drift_pages") != 0)
}

pub(super) fn candidates(report: &Value) -> impl Iterator<Item = &Value> {
    report["candidates"]["list"].as_array().into_iter().flatten()
}

/// The pages of this part that a task holds back at most, up to 6.1.
pub(super) fn held_back_by_task(part: &str) -> i64 {
    let pages_per_fault = if part == "anon_rss_bytes" { 1 } else { FAULT_AROUND_PAGES };
    TASK_HOLDS_BACK_FAULTS * pages_per_fault
}

/// Compares the victim with the line "Killed process".
pub(super) fn victim(
    check: &mut Check,
    facts: &Facts,
    report: &Value,
    victim: &Value,
    kill: &Kill,
) {
    check.field(victim, "/comm", kill.comm.as_str());
    check.field(victim, "/uid", kill.uid);
    check.field(victim, "/oom_score_adj", kill.oom_score_adj);
    check.field(victim, "/total_vm_bytes", kill.total_vm_kib * 1024);
    check.field(victim, "/pgtables_bytes", kill.pgtables_kib * 1024);
    if has_numbers(check, "the victim", victim, &PARTS) {
        resident(check, facts, report, victim, kill);
    }
}

fn resident(check: &mut Check, facts: &Facts, report: &Value, victim: &Value, kill: &Kill) {
    let reported = PARTS.map(|part| number(victim, part));
    let kernel = kill.rss_kib.map(|kib| i64::try_from(kib * 1024).unwrap_or(i64::MAX));
    if reported == kernel {
        return;
    }
    let drifting = is_drifting(facts, report);
    for (part, (reported, kernel)) in PARTS.iter().zip(reported.into_iter().zip(kernel)) {
        let tolerance = match (drifting, facts.tasks_hold_back_rss()) {
            (true, _) => HELD_BACK_PAGES,
            (false, true) => held_back_by_task(part),
            (false, false) if kill.comm == HELPER => HELD_BACK_PAGES,
            (false, false) => 0,
        };
        check.near(part, reported, kernel, tolerance * PAGE_BYTES);
    }
    let row = candidates(report).find(|candidate| candidate["pid"] == victim["pid"]);
    // No task was evaluated, so the drift of the parts is unknown.
    if let (true, Some(row)) = (drifting, row) {
        let drift = number(row, "drift_pages") * PAGE_BYTES;
        let sum = reported.iter().sum::<i64>() + drift;
        let tolerance = swap_in_drift(row) * PAGE_BYTES;
        check.near("the sum of the victim's parts and drift", sum, kernel.iter().sum(), tolerance);
    }
}

/// The part of the drift, in pages, that may be of the swapped memory. The kernel's line has none
/// of it.
fn swap_in_drift(row: &Value) -> i64 {
    if number(row, "swap_pages") == 0 { 0 } else { HELD_BACK_PAGES }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drift_of_swapped_memory_is_accepted_only_with_swap() {
        assert_eq!(swap_in_drift(&json!({ "swap_pages": 0, "drift_pages": 22 })), 0);
        let with_swap = json!({ "swap_pages": 992, "drift_pages": 22 });
        assert_eq!(swap_in_drift(&with_swap), HELD_BACK_PAGES);
    }
}
