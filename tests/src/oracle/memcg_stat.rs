//! Compares the statistics of a memcg. Sometimes the kernel prints older ones than the report has.

use serde_json::Value;

use super::check::Check;
use super::invocation::STOCK_BYTES;
use crate::facts::Facts;
use crate::kmsg::Block;

/// Compares every item that the kernel printed and that reports have.
pub(super) fn stat(check: &mut Check, facts: &Facts, report: &Value, block: &Block) {
    let printed = STAT.iter().filter_map(|name| Some((name, *block.stat.get(*name)?)));
    let reported = &report["oom_memcg"]["stat"];
    if reported.is_null() {
        let absent = printed.map(|(_, value)| value).next();
        if let Some(kernel) = absent {
            check.field(report, "/oom_memcg/stat", kernel);
        }
        return;
    }
    let is_unflushed = facts.skips_small_flushes() && is_unflushed(report, block);
    let tolerance = if facts.tasks_hold_back_rss() { STAT_BYTES_HELD_BACK } else { 0 };
    for (name, kernel) in printed {
        let is_thp_in_pages = name.ends_with("_thp") && reported[name].is_null();
        let kernel = i64::try_from(kernel).unwrap_or(i64::MAX);
        match reported[name].as_i64() {
            Some(_) if is_unflushed => {}
            Some(value) => {
                check.near(&format!("/oom_memcg/stat/{name}"), value, kernel, tolerance);
            }
            // 5.10 counts these in huge pages, and no file has their size.
            None if is_thp_in_pages && facts.tasks_hold_back_rss() => {}
            None => check.disagree(format!("/oom_memcg/stat/{name} is absent")),
        }
    }
    check.equal("stat_is_stale", &report["oom_memcg"]["stat_is_stale"], &Value::Null);
}

/// Whether the kernel printed statistics that it had not flushed. Before it prints, it flushes
/// nothing if a memcg has few updates (memcg_vmstats_needs_flush, since 6.8) or if another CPU is
/// flushing. A flush may follow between the print and the probe. Then the reported statistics add
/// up to the usage, except for the pages that CPUs charged in advance. The printed ones are 0 or
/// further from it.
fn is_unflushed(report: &Value, block: &Block) -> bool {
    let all = STAT.iter().filter_map(|name| block.stat.get(*name));
    if all.clone().all(|value| *value == 0) {
        return true;
    }
    let printed = PARTS_OF_USAGE.map(|name| block.stat.get(name).copied());
    let reported = PARTS_OF_USAGE.map(|name| report["oom_memcg"]["stat"][name].as_u64());
    let [printed, reported] = [printed, reported].map(|it| it.into_iter().sum::<Option<u64>>());
    let usage = report["oom_memcg"]["usage_bytes"].as_u64();
    let off = |sum: Option<u64>| Some(sum?.abs_diff(usage?));
    match (off(reported), off(printed)) {
        (Some(reported), Some(printed)) => {
            reported <= STOCK_BYTES.unsigned_abs() && reported < printed
        }
        _ => false,
    }
}

/// The parts of a memcg's usage.
const PARTS_OF_USAGE: [&str; 3] = ["anon", "file", "kernel"];

/// The part of a statistic that two CPUs hold back on 5.10, where nothing flushes it: each
/// MEMCG_CHARGE_BATCH, 32 pages.
/// <https://github.com/torvalds/linux/blob/v5.10/include/linux/memcontrol.h>
const STAT_BYTES_HELD_BACK: i64 = 2 * 32 * 4096;

/// The statistics of a memcg that a report has.
#[rustfmt::skip]
pub(super) const STAT: &[&str] = &[
    "anon", "file", "kernel", "kernel_stack", "pagetables", "sec_pagetables", "percpu", "sock",
    "vmalloc", "shmem", "zswap", "zswapped", "file_mapped", "file_dirty", "file_writeback",
    "swapcached", "anon_thp", "file_thp", "shmem_thp", "inactive_anon", "active_anon",
    "inactive_file", "active_file", "unevictable", "slab_reclaimable", "slab_unreclaimable",
    "hugetlb",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kmsg::Counter;

    const MIB: u64 = 1 << 20;

    fn printed(anon: u64) -> Block {
        let stat = [("anon", anon), ("file", 10), ("kernel", 1)];
        let stat = stat.map(|(name, mib)| (name.to_owned(), mib * MIB)).into();
        let memory = Counter { usage_kib: 111 << 10, limit_kib: 111 << 10, failcnt: 1 };
        Block { stat, counters: [("memory".to_owned(), memory)].into(), ..Block::default() }
    }

    fn reported(anon: u64) -> Value {
        let stat = json!({ "anon": anon * MIB, "file": 10 * MIB, "kernel": MIB });
        json!({ "oom_memcg": { "usage_bytes": 111 * MIB, "stat": stat } })
    }

    #[test]
    fn old_counters_are_accepted_only_if_no_other_is_used() {
        assert!(is_unflushed(&reported(100), &printed(60)));
        assert!(!is_unflushed(&reported(90), &printed(60)));
        assert!(is_unflushed(&reported(100), &printed(99)));
        assert!(!is_unflushed(&reported(99), &printed(100)));
        assert!(!is_unflushed(&reported(100), &printed(100)));
        assert!(!is_unflushed(&json!({}), &printed(60)));
        let nothing = printed(0).stat.into_keys().map(|name| (name, 0)).collect();
        assert!(is_unflushed(&reported(100), &Block { stat: nothing, ..printed(0) }));
    }
}
