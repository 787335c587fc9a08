//! Compares the candidates with the kernel's table of tasks, and their points with the sum of
//! parts.

use serde_json::Value;

use super::Case;
use super::check::{Check, has_numbers, number};
use super::memory::{HELD_BACK_PAGES, PAGE_BYTES, candidates, is_drifting};
use crate::kmsg::{Block, TaskRow};
use crate::scenario::shown;

const RSS_PARTS: [&str; 3] = ["anon_pages", "file_pages", "shmem_pages"];
const SUMMANDS: [&str; 6] =
    ["anon_pages", "file_pages", "shmem_pages", "swap_pages", "pgtables_pages", "adj_pages"];

/// The pages that a task may touch between the kernel's evaluation and its print. Two tasks run
/// meanwhile. The tracer drops the code that it does not run and faults it in again; it has less
/// than 2,048 pages. PID 1 reads the tracer's output: 16 pages a fault, and the counter moves by
/// 32.
fn faulted_meanwhile(comm: &str) -> i64 {
    match comm {
        comm if comm == "oomwhy" || is_helper(comm) => 2048,
        "init" => 128,
        _ => 0,
    }
}

/// A short-lived helper process of the tracer (tracer/src/symbolize/helper_process.rs). It may
/// start or end between the kernel's evaluation and its print. While it starts, it has the
/// oom_score_adj of the tracer, and the name of the link by which it was started or of the thread
/// that starts it.
fn is_helper(comm: &str) -> bool {
    comm == "exe" || comm.starts_with("oomwhy-")
}

/// Whether the helper process set its name or its oom_score_adj between evaluation and print.
fn is_starting(candidate: &Value, row: &TaskRow) -> bool {
    is_helper(&row.comm)
        && (candidate["comm"] != row.comm || candidate["oom_score_adj"] != row.oom_score_adj)
}

/// The number of candidates that a report has room for.
const LIST_LIMIT: usize = 32;

/// Checks that every task of the kernel's table is a candidate with the same figures, and that
/// every candidate that could have been chosen is in the table.
pub(super) fn against_table(check: &mut Check, case: Case<'_>, report: &Value, block: &Block) {
    if report["reason"] == "allocating_task" {
        // No task was evaluated, so there are no candidates for the tasks that the kernel prints.
        check.equal("candidates", &report["candidates"], &Value::Null);
        return;
    }
    // Only tasks that read oom_score all the time can keep the probe busy.
    if was_skipped(report) && case.scenario.name == "score_readers" {
        return;
    }
    let drifting = is_drifting(case.facts, report);
    for row in &block.tasks {
        match candidates(report).find(|candidate| candidate["pid"] == row.tgid) {
            Some(candidate) if is_starting(candidate, row) => {}
            Some(candidate) => {
                let chosen = block.summary.as_ref().is_some_and(|summary| summary.pid == row.tgid);
                if block.summary.is_some() || block.kills.is_empty() {
                    check.field(candidate, "/chosen", chosen);
                }
                one(check, case, candidate, row, drifting);
            }
            None if is_left_out(report, row) || is_helper(&row.comm) => {}
            None => {
                check.disagree(format!("task {} ({}) is not a candidate", row.tgid, row.comm));
            }
        }
    }
    // The kernel evaluates the tasks of the table and tasks without memory.
    let considered = number(&report["candidates"], "considered");
    let is_listed =
        |row: &&TaskRow| candidates(report).any(|candidate| candidate["pid"] == row.tgid);
    let n_rows = block.tasks.iter().filter(|row| !is_helper(&row.comm) || is_listed(row)).count();
    let n_tasks = i64::try_from(n_rows).unwrap_or(i64::MAX);
    check.equal("all tasks of the kernel's table are considered", considered >= n_tasks, true);
    for candidate in candidates(report).filter(|candidate| candidate["eligible"] == true) {
        let comm = candidate["comm"].as_str().unwrap_or_default();
        if !block.tasks.iter().any(|row| candidate["pid"] == row.tgid) && !is_helper(comm) {
            check.disagree(format!("candidate {} is not in the kernel's table", candidate["pid"]));
        }
    }
}

/// Whether a full list has no room for a task: the task may not be killed, or its points are at
/// most those of the last entry.
fn is_left_out(report: &Value, row: &TaskRow) -> bool {
    let unit = report["totalpages"].as_i64().unwrap_or_default() / 1000;
    let pages = row.rss + row.swapents + row.pgtables_bytes / 4096;
    let points = i64::try_from(pages).unwrap_or(i64::MAX) + row.oom_score_adj * unit;
    let least = candidates(report).filter_map(|candidate| candidate["points"].as_i64()).min();
    candidates(report).count() == LIST_LIMIT
        && (row.oom_score_adj == -1000 || least.is_some_and(|least| points <= least))
}

/// The pages of one task that kswapd may move to swap on another CPU between the kernel's
/// evaluation and its print: 16 rounds of SWAP_CLUSTER_MAX pages. 67 were seen on 7.3. The sum of
/// the pages in memory and in swap stays the same, and has no such tolerance.
const MOVED_BY_KSWAPD_PAGES: i64 = 16 * 32;

fn one(check: &mut Check, case: Case<'_>, candidate: &Value, row: &TaskRow, drifting: bool) {
    let name = format!("candidate {} ({})", row.tgid, row.comm);
    check.equal(&format!("{name}: uid"), &candidate["uid"], &row.uid.into());
    let refusals = case.scenario.refused.iter();
    let refused = refusals.clone().find(|(comm, _)| shown(comm) == row.comm).map(|(_, why)| *why);
    let why_not = if row.oom_score_adj == -1000 { Some("oom_score_adj_min") } else { refused };
    check.equal(&format!("{name}: eligible"), &candidate["eligible"], &why_not.is_none().into());
    check.equal(&format!("{name}: why_not"), &candidate["why_not"], &why_not.into());
    let is_leader = row.tid == row.tgid;
    let tid = if is_leader { Value::Null } else { row.tid.into() };
    check.equal(&format!("{name}: tid"), &candidate["tid"], &tid);
    check.equal(&format!("{name}: comm"), &candidate["comm"], &row.comm.as_str().into());
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    if !has_numbers(check, &name, candidate, &SUMMANDS[..5])
        || !has_numbers(check, &name, candidate, &["oom_score_adj"])
    {
        return;
    }
    let faulted = faulted_meanwhile(&row.comm);
    // Pages move to swap only if the machine has swap.
    let tolerance = if case.facts.swap_pages > 0 { part_tolerance(case, drifting) } else { 0 };
    let swap_pages = number(candidate, "swap_pages");
    check.near(&format!("{name}: swap_pages"), swap_pages, signed(row.swapents), tolerance);
    let exact = [
        ("pgtables_pages", signed(row.pgtables_bytes) / PAGE_BYTES),
        ("oom_score_adj", row.oom_score_adj),
    ];
    for (field, kernel) in exact {
        let moved = if field == "pgtables_pages" { faulted } else { 0 };
        check.near(&format!("{name}: {field}"), number(candidate, field), kernel, moved);
    }
    if candidate["total_vm_pages"].is_i64() {
        let total_vm = number(candidate, "total_vm_pages");
        check.near(&format!("{name}: total_vm_pages"), total_vm, signed(row.total_vm), 0);
    }
    resident(check, case, &name, candidate, row, (drifting, faulted));
}

/// The tolerance of a part: the pages that CPUs hold back, and with swap those that kswapd moves.
fn part_tolerance(case: Case<'_>, drifting: bool) -> i64 {
    match (drifting, case.facts.swap_pages) {
        (false, 0) => 0,
        (true, 0) => HELD_BACK_PAGES,
        (_, _) => HELD_BACK_PAGES + MOVED_BY_KSWAPD_PAGES,
    }
}

/// Compares the pages in memory, and those in swap if there is any. Pages move between the two.
fn resident(
    check: &mut Check,
    case: Case<'_>,
    name: &str,
    candidate: &Value,
    row: &TaskRow,
    (drifting, moved): (bool, i64),
) {
    let part_tolerance = part_tolerance(case, drifting) + moved;
    let sum_tolerance = moved
        + match (candidate["points"].is_i64(), case.facts.swap_pages) {
            // The drift of the parts is unknown.
            (false, _) => 4 * part_tolerance,
            (true, 0) => 0,
            // For a moment the kernel counts a page both in swap and in memory.
            (true, _) => HELD_BACK_PAGES,
        };
    let sum = RSS_PARTS.iter().map(|part| number(candidate, part)).sum::<i64>()
        + number(candidate, "swap_pages")
        + number(candidate, "drift_pages");
    let kernel = i64::try_from(row.rss + row.swapents).unwrap_or(i64::MAX);
    check.near(&format!("{name}: pages in memory and swap"), sum, kernel, sum_tolerance);
    for (part, kernel) in RSS_PARTS.iter().zip(row.rss_parts.into_iter().flatten()) {
        let kernel = i64::try_from(kernel).unwrap_or(i64::MAX);
        check.near(&format!("{name}: {part}"), number(candidate, part), kernel, part_tolerance);
    }
}

/// Whether the report names candidates that a probe missed: the kernel does not run a probe on top
/// of itself.
fn was_skipped(report: &Value) -> bool {
    let mut missing = report["source"]["missing"].as_array().into_iter().flatten();
    report["candidates"].is_null()
        && missing.any(|entry| {
            let why = entry["why"].as_str().unwrap_or_default();
            entry["field"] == "candidates" && why.starts_with("the kernel skips a probe")
        })
}

/// Checks that the points add up, and that the chosen task has the most points.
pub(super) fn arithmetic(check: &mut Check, report: &Value) {
    if report["reason"] == "allocating_task" || was_skipped(report) {
        return;
    }
    let n_listed = candidates(report).count();
    check.field(report, "/candidates/recorded", n_listed);
    if n_listed < LIST_LIMIT {
        check.field(report, "/candidates/considered", n_listed);
    }
    let Some(totalpages) = report["totalpages"].as_i64() else {
        check.disagree("/totalpages is absent".to_owned());
        return;
    };
    let mut max = i64::MIN;
    for candidate in candidates(report).filter(|candidate| candidate["eligible"] == true) {
        let name = format!("candidate {}", candidate["pid"]);
        max = max.max(candidate["points"].as_i64().unwrap_or(max));
        if !has_numbers(check, &name, candidate, &["points", "oom_score_adj"])
            || !has_numbers(check, &name, candidate, &SUMMANDS)
        {
            continue;
        }
        let points = number(candidate, "points");
        let sum = SUMMANDS.iter().map(|field| number(candidate, field)).sum::<i64>()
            + number(candidate, "drift_pages");
        check.near(&format!("{name}: the sum of its parts"), sum, points, 0);
        let adj_pages = number(candidate, "oom_score_adj") * (totalpages / 1000);
        check.near(&format!("{name}: adj_pages"), number(candidate, "adj_pages"), adj_pages, 0);
    }
    let chosen: Vec<&Value> =
        candidates(report).filter(|candidate| candidate["chosen"] == true).collect();
    check.equal("chosen candidates", chosen.len(), 1);
    for candidate in chosen {
        if max != i64::MIN {
            check.near("the chosen candidate's points", number(candidate, "points"), max, 0);
        }
        let is_victim = super::victims(report).any(|victim| victim["pid"] == candidate["pid"]);
        check.equal("the chosen candidate is a victim", is_victim, true);
    }
}
