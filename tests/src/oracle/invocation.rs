//! The invocation: trigger, constraint, memcgs.

use serde_json::Value;

use super::check::Check;
use crate::facts::Facts;
use crate::kmsg::{Block, Summary};

/// What a v2 counter without a limit prints, in KiB.
const NO_LIMIT_KIB: u64 = 9_007_199_254_740_988;

const PAGE_KIB: u64 = 4;

/// What two CPUs may take in advance: MEMCG_CHARGE_BATCH, 64 pages, each.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/memcontrol.h>
const STOCK_BYTES: i64 = 2 * 64 * 4096;

/// Compares a report with the block of the kernel's log.
pub(super) fn against_block(check: &mut Check, report: &Value, victim: &Value, block: &Block) {
    trigger(check, report, block);
    memcg(check, report, block);
    totalpages(check, report, block);
    if let Some(summary) = &block.summary {
        against_summary(check, report, victim, summary);
    }
}

fn trigger(check: &mut Check, report: &Value, block: &Block) {
    let trigger = &block.trigger;
    check.field(report, "/trigger/comm", trigger.comm.as_str());
    check.field(report, "/trigger/oom_score_adj", trigger.oom_score_adj);
    check.field(report, "/trigger/order", trigger.order);
    check.field(report, "/trigger/gfp_mask/value", trigger.gfp_mask);
    check.field(report, "/trigger/gfp_mask/names", trigger.gfp_names.clone());
    let has_tid = report.pointer("/trigger/tid").is_some_and(Value::is_number);
    let field = if has_tid { "/trigger/tid" } else { "/trigger/pid" };
    match trigger.tid {
        Some(tid) => check.field(report, field, tid),
        None => check.disagree("the kernel's log names no trigger".to_owned()),
    }
}

fn against_summary(check: &mut Check, report: &Value, victim: &Value, summary: &Summary) {
    check.field(report, "/constraint", summary.constraint.to_lowercase());
    match &summary.oom_memcg {
        Some(path) => check.field(report, "/oom_memcg/path", path.as_str()),
        None => check.equal("oom_memcg", &report["oom_memcg"], &Value::Null),
    }
    // In a group the summary is about the chosen one only.
    if victim["pid"] == summary.pid {
        check.field(victim, "/uid", summary.uid);
        check.field(victim, "/chosen", true);
        check.field(victim, "/cgroup/path", summary.task_memcg.as_str());
    }
}

fn memcg(check: &mut Check, report: &Value, block: &Block) {
    if let Some(memory) = block.counters.get("memory") {
        usage(check, report, memory.usage_kib * 1024);
        if memory.limit_kib < NO_LIMIT_KIB {
            check.field(report, "/oom_memcg/max_bytes", memory.limit_kib * 1024);
        }
    }
    let reported = report.pointer("/oom_memcg/stat").and_then(Value::as_object);
    for (name, value) in reported.into_iter().flatten() {
        if let Some(kernel) = block.stat.get(name) {
            check.equal(&format!("/oom_memcg/stat/{name}"), value, &(*kernel).into());
        }
    }
}

/// The usage is read when the choice is made and printed a little later; meanwhile a CPU may give
/// back what it had taken in advance.
fn usage(check: &mut Check, report: &Value, kernel: u64) {
    let pointer = "/oom_memcg/usage_bytes";
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    match report.pointer(pointer).and_then(Value::as_u64) {
        Some(reported) => check.near(pointer, signed(reported), signed(kernel), STOCK_BYTES),
        None => check.disagree(format!("{pointer} is absent; the kernel says {kernel}")),
    }
}

/// The size of the domain: the limit or the machine, for the guests have no swap.
fn totalpages(check: &mut Check, report: &Value, block: &Block) {
    let machine = block.ram_pages.zip(block.reserved_pages).map(|(ram, reserved)| ram - reserved);
    let limit = block.counters.get("memory").map(|memory| memory.limit_kib / PAGE_KIB);
    match limit.or(machine) {
        Some(pages) => check.field(report, "/totalpages", pages),
        None => check.disagree("the kernel's log has neither limit nor machine".to_owned()),
    }
}

/// Cgroups are named by id as well; the guest has seen their inodes.
pub(super) fn cgroup_ids(check: &mut Check, report: &Value, victim: &Value, facts: &Facts) {
    for (what, cgroup) in [("oom_memcg", &report["oom_memcg"]), ("victim", &victim["cgroup"])] {
        let known = facts.cgroups.iter().rev().find(|known| cgroup["path"] == known.path.as_str());
        if let Some(known) = known {
            check.equal(
                &format!("{what}: the id of {}", known.path),
                &cgroup["id"],
                &known.inode.to_string().into(),
            );
        }
    }
}
