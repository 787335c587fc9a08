//! Compares the invocation: trigger, constraint, memcgs.

use serde_json::{Value, json};

use super::Case;
use super::check::Check;
use super::memcg_stat::stat;
use crate::facts::Facts;
use crate::kmsg::{Block, Kill};
use crate::scenario::shown;

/// The printed limit of a v2 counter without a limit, KiB.
const NO_LIMIT_KIB: u64 = 9_007_199_254_740_988;

const PAGE_KIB: u64 = 4;

/// Memory that two CPUs may charge in advance: each MEMCG_CHARGE_BATCH, 64 pages.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/memcontrol.h>
pub(super) const STOCK_BYTES: i64 = 2 * 64 * 4096;

/// Compares a report with the block of the kernel's log.
pub(super) fn against_block(check: &mut Check, case: Case<'_>, report: &Value, block: &Block) {
    trigger(check, report, block);
    memcg(check, case, report, block);
    totalpages(check, case.facts, report, block);
}

/// The reason for the choice of the victim, from the kernel's words.
pub(super) fn reason(kill: &Kill, block: Option<&Block>) -> &'static str {
    if kill.message.ends_with("(oom_kill_allocating_task)") {
        "allocating_task"
    } else if block.is_some_and(|block| block.trigger.order == -1) {
        "sysrq"
    } else {
        "selection"
    }
}

/// Whether the block and the report have the same trigger.
pub(super) fn is_trigger(report: &Value, block: &Block) -> bool {
    block.trigger.tid.is_some_and(|tid| *trigger_tid(report) == tid)
}

fn trigger_tid(report: &Value) -> &Value {
    let trigger = &report["trigger"];
    if trigger["tid"].is_null() { &trigger["pid"] } else { &trigger["tid"] }
}

fn trigger(check: &mut Check, report: &Value, block: &Block) {
    let trigger = &block.trigger;
    check.field(report, "/trigger/comm", trigger.comm.as_str());
    check.field(report, "/trigger/oom_score_adj", trigger.oom_score_adj);
    check.field(report, "/trigger/order", trigger.order);
    check.field(report, "/trigger/gfp_mask/value", trigger.gfp_mask);
    gfp_names(check, report, &trigger.gfp_names);
    match trigger.tid {
        Some(tid) => check.equal("the trigger's thread", trigger_tid(report), &tid.into()),
        None => check.disagree("the kernel's log names no trigger".to_owned()),
    }
}

/// Compares the names of the flags. Under lockdown their order is unknown, because it differs
/// between kernels and cannot be read.
fn gfp_names(check: &mut Check, report: &Value, kernel: &[String]) {
    let pointer = "/trigger/gfp_mask/names";
    let names = report.pointer(pointer).and_then(Value::as_array);
    let is_same_set = names.is_some_and(|names| {
        names.len() == kernel.len() && kernel.iter().all(|name| names.contains(&json!(name)))
    });
    if !(check.is_locked_down() && is_same_set) {
        check.field(report, pointer, kernel.to_vec());
    }
}

/// Compares with the line "oom-kill:", unless a long path made the kernel truncate it.
pub(super) fn against_summary(check: &mut Check, report: &Value, victim: &Value, block: &Block) {
    let Some(summary) = &block.summary else {
        return;
    };
    check.field(report, "/constraint", summary.constraint.to_lowercase());
    match &summary.oom_memcg {
        Some(path) => check.field(report, "/oom_memcg/path", path.as_str()),
        None => check.equal("oom_memcg", &report["oom_memcg"], &Value::Null),
    }
    // In a group the summary describes the chosen task only.
    if victim["pid"] == summary.pid {
        check.field(victim, "/uid", summary.uid);
        check.field(victim, "/chosen", true);
        check.field(victim, "/cgroup/path", summary.task_memcg.as_str());
    }
}

fn memcg(check: &mut Check, case: Case<'_>, report: &Value, block: &Block) {
    if let Some(memory) = block.counters.get("memory") {
        let usage_bytes = memory.usage_kib * 1024;
        usage(check, report, usage_bytes);
        if memory.limit_kib < NO_LIMIT_KIB {
            check.field(report, "/oom_memcg/max_bytes", memory.limit_kib * 1024);
        }
    }
    stat(check, case.facts, report, block);
}

/// Compares the usage. The probe reads it when the victim is chosen, and the kernel prints it a
/// little later. In between a CPU may return memory that it charged in advance.
fn usage(check: &mut Check, report: &Value, kernel: u64) {
    let pointer = "/oom_memcg/usage_bytes";
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    match report.pointer(pointer).and_then(Value::as_u64) {
        Some(reported) => check.usage(pointer, signed(reported), signed(kernel), STOCK_BYTES),
        None => check.disagree(format!("{pointer} is absent, but {kernel} in the log")),
    }
}

/// Compares the size of the domain (the limit, some nodes, or the machine) plus the swap that it
/// may use.
fn totalpages(check: &mut Check, facts: &Facts, report: &Value, block: &Block) {
    match of_memcg(block).or_else(|| of_nodes(block)).or_else(|| of_machine(block)) {
        Some(Domain { memory, swap_at_most }) => {
            let pages = memory + swap_at_most.unwrap_or(u64::MAX).min(facts.swap_pages);
            check.field(report, "/totalpages", pages);
        }
        None => check.disagree("the kernel's log has neither limit nor machine".to_owned()),
    }
}

struct Domain {
    memory: u64,
    swap_at_most: Option<u64>,
}

/// The result of `mem_cgroup_get_max()`. v1 limits memory and swap together.
fn of_memcg(block: &Block) -> Option<Domain> {
    let limit = |name: &str| Some(block.counters.get(name)?.limit_kib / PAGE_KIB);
    let memory = limit("memory")?;
    let together = limit("memory+swap").map(|both| both.saturating_sub(memory));
    Some(Domain { memory, swap_at_most: limit("swap").or(together) })
}

/// The result of `constrained_alloc()` for a cpuset or a memory policy.
fn of_nodes(block: &Block) -> Option<Domain> {
    let summary = block.summary.as_ref()?;
    let nodes = match summary.constraint.as_str() {
        "CPUSET" => &summary.mems_allowed,
        "MEMORY_POLICY" => summary.nodemask.as_ref()?,
        _ => return None,
    };
    let present = nodes.iter().map(|node| block.present_kib.get(node));
    Some(Domain { memory: present.sum::<Option<u64>>()? / PAGE_KIB, swap_at_most: None })
}

fn of_machine(block: &Block) -> Option<Domain> {
    Some(Domain { memory: block.ram_pages? - block.reserved_pages?, swap_at_most: None })
}

/// Compares the ids of cgroups with the inodes that the guest read.
pub(super) fn cgroup_ids(check: &mut Check, report: &Value, victim: &Value, facts: &Facts) {
    for (what, cgroup) in [("oom_memcg", &report["oom_memcg"]), ("victim", &victim["cgroup"])] {
        let known = facts.cgroups.iter().rev();
        let known = known.into_iter().find(|it| cgroup["path"] == shown(&it.path).as_str());
        if let Some(known) = known {
            check.equal(
                &format!("{what}: the id of {}", known.path),
                &cgroup["id"],
                &known.inode.to_string().into(),
            );
        }
    }
}
