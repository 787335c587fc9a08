//! Compares the reports of a watcher that reads the kernel's log. They must agree with the log,
//! which another parser reads here, and with the tracer's report of the same kill.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::Check;
use super::{is_of, victims};
use crate::kmsg::{Block, Kill, Log, TaskRow};
use crate::report;
use crate::scenario::{Scenario, Step};

/// Values that must be the same in both tiers.
const SAME: &[&str] = &[
    "/outcome",
    "/reason",
    "/constraint",
    "/message",
    "/mems_allowed",
    "/page_size",
    "/totalpages",
    "/kernel",
    "/boot_id",
    "/trigger/pid",
    "/trigger/tid",
    "/trigger/comm",
    "/trigger/oom_score_adj",
    "/trigger/gfp_mask",
    "/trigger/order",
    "/oom_memcg/path",
    "/oom_memcg/max_bytes",
    "/oom_memcg/swap_max_bytes",
];

/// The largest accepted difference of the two clocks, ns. The log's clock starts a little earlier
/// in a boot than CLOCK_BOOTTIME: by a third of a second on an emulated arm64, by more than one
/// second on a busy host.
const CLOCKS_DIFFER_NS: i64 = 3_000_000_000;

/// Compares each watcher of the log.
pub(super) fn compare(
    check: &mut Check,
    scenario: &Scenario,
    log: &Log,
    kills: &[Value],
    outputs: &BTreeMap<String, (String, String)>,
) {
    for step in scenario.steps {
        let Step::Watch(watcher) = step else { continue };
        if !watcher.args.contains(&"kmsg") {
            continue;
        }
        check.within(format!("watcher {}", watcher.name));
        match outputs.get(watcher.name) {
            Some((stdout, _)) => one(check, log, kills, stdout),
            None => check.disagree("it left nothing".to_owned()),
        }
        check.leave();
    }
}

fn one(check: &mut Check, log: &Log, kills: &[Value], stdout: &str) {
    let reports: Vec<Value> = report::objects(stdout).filter(report::is_kill).collect();
    check.equal("reports of kills", reports.len(), log.n_invocations());
    for kill in log.kills() {
        let found = reports.iter().find_map(|report| {
            victims(report).find(|victim| is_of(victim, kill)).map(|victim| (report, victim))
        });
        let Some((report, victim)) = found else {
            check.disagree(format!("no report of {} ({})", kill.tid, kill.comm));
            continue;
        };
        against_line(check, victim, kill);
        let own = kills.iter().find(|own| victims(own).any(|victim| is_of(victim, kill)));
        match own {
            Some(own) => against_tracer(check, report, own),
            None => check.disagree(format!("the tracer has no report of {}", kill.tid)),
        }
    }
    for block in log.blocks.iter().filter(|block| !block.kills.is_empty()) {
        let is_its = |report: &&Value| {
            victims(report).any(|victim| block.kills.iter().any(|kill| is_of(victim, kill)))
        };
        if let Some(report) = reports.iter().find(is_its) {
            check.equal("victims", victims(report).count(), block.kills.len());
            against_block(check, report, block);
        }
    }
}

fn against_line(check: &mut Check, victim: &Value, kill: &Kill) {
    check.field(victim, "/comm", kill.comm.as_str());
    check.field(victim, "/uid", kill.uid);
    check.field(victim, "/total_vm_bytes", kill.total_vm_kib * 1024);
    let names = ["/anon_rss_bytes", "/file_rss_bytes", "/shmem_rss_bytes"];
    for (name, kib) in names.iter().zip(kill.rss_kib) {
        check.field(victim, name, kib * 1024);
    }
    check.field(victim, "/pgtables_bytes", kill.pgtables_kib * 1024);
    check.field(victim, "/oom_score_adj", kill.oom_score_adj);
}

fn against_block(check: &mut Check, report: &Value, block: &Block) {
    if let Some(memory) = block.counters.get("memory") {
        check.field(report, "/oom_memcg/usage_bytes", memory.usage_kib * 1024);
        check.field(report, "/oom_memcg/max_bytes", memory.limit_kib * 1024);
        stat(check, report, block);
    }
    if let Some(ram) = block.ram_pages {
        let pages = ram - block.reserved_pages.unwrap_or_default();
        check.field(report, "/system/total_bytes", pages * 4096);
    }
    let frames = report["trigger"]["kernel_stack"].as_array().cloned().unwrap_or_default();
    let has_entry = frames.iter().any(|frame| frame["symbol"] == "out_of_memory");
    check.equal("out_of_memory in the call trace", has_entry, true);
    check.field(report, "/candidates/considered", block.tasks.len());
    let unit = report["totalpages"].as_i64().map(|pages| pages / 1000);
    for row in &block.tasks {
        let list = report["candidates"]["list"].as_array().into_iter().flatten();
        match list.into_iter().find(|candidate| candidate["pid"] == row.tgid) {
            Some(candidate) => against_row(check, candidate, row, unit),
            // A report lists only the first 32 candidates.
            None if block.tasks.len() > 32 => {}
            None => check.disagree(format!("candidate {} is not listed", row.tgid)),
        }
    }
}

/// Compares the statistics. If the kernel truncated their record, the report leaves the last one
/// out.
fn stat(check: &mut Check, report: &Value, block: &Block) {
    let reported = report["oom_memcg"]["stat"].as_object().cloned().unwrap_or_default();
    let missing = block.stat.iter().filter(|(name, _)| !reported.contains_key(*name)).count();
    check.near("statistics left out", i64::try_from(missing).unwrap_or(i64::MAX), 0, 1);
    for (name, value) in &reported {
        check.equal(name, value.as_u64(), block.stat.get(name).copied());
    }
}

fn against_row(check: &mut Check, candidate: &Value, row: &TaskRow, unit: Option<i64>) {
    check.field(candidate, "/comm", row.comm.as_str());
    check.field(candidate, "/uid", row.uid);
    check.field(candidate, "/swap_pages", row.swapents);
    check.field(candidate, "/pgtables_pages", row.pgtables_bytes / 4096);
    check.field(candidate, "/oom_score_adj", row.oom_score_adj);
    check.field(candidate, "/eligible", row.oom_score_adj != -1000);
    if let Some([anon, file, shmem]) = row.rss_parts {
        check.field(candidate, "/anon_pages", anon);
        check.field(candidate, "/file_pages", file);
        check.field(candidate, "/shmem_pages", shmem);
    }
    let pages = i64::try_from(row.rss + row.swapents + row.pgtables_bytes / 4096);
    if let (Some(unit), Ok(pages)) = (unit, pages)
        && row.oom_score_adj != -1000
    {
        check.field(candidate, "/points", pages + row.oom_score_adj * unit);
    }
}

fn against_tracer(check: &mut Check, report: &Value, own: &Value) {
    for pointer in SAME {
        check.equal(pointer, report.pointer(pointer), own.pointer(pointer));
    }
    let ids = |report: &Value| {
        let mut ids: Vec<(i64, bool)> = victims(report)
            .map(|victim| (super::check::number(victim, "pid"), victim["chosen"] == true))
            .collect();
        ids.sort_unstable();
        ids
    };
    check.equal("victims", ids(report), ids(own));
    let times = [report, own].map(|report| super::check::number(report, "boottime_ns"));
    check.near("boottime_ns", times[0], times[1], CLOCKS_DIFFER_NS);
}
