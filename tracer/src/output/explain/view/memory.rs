//! What the memory was: memory.stat, or the host's figures, the largest first, parts below wholes.

use std::{cmp::Reverse, collections::BTreeMap};

use super::permille;
use crate::{
    fmt::units,
    model::{
        memcg_stat::KERNEL_PARTS,
        report::{OomReport, System},
    },
};

/// A size with its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output::explain) struct Item {
    pub(in crate::output::explain) name: String,
    pub(in crate::output::explain) size: String,
    pub(in crate::output::explain) permille: Option<u64>,
    /// It is part of the item above it that is not.
    pub(in crate::output::explain) is_part: bool,
}

/// Wholes of memory.stat and what is part of them. Names of cgroup v1 stand beside those of v2.
const WHOLES: [(&str, &[&str]); 6] = [
    ("anon", &["anon_thp"]),
    ("rss", &["rss_huge"]),
    ("file", &["shmem", "file_mapped", "file_dirty", "file_writeback", "file_thp", "shmem_thp"]),
    ("cache", &["shmem", "mapped_file", "dirty", "writeback"]),
    ("kernel", &KERNEL_PARTS),
    ("sock", &[]),
];

/// The items, and what they are shares of.
pub(in crate::output::explain) fn items(report: &OomReport) -> Vec<Item> {
    let memcg = report.oom_memcg.as_ref();
    if let Some(stat) = memcg.and_then(|memcg| memcg.stat.as_ref()) {
        return of_stat(stat, memcg.and_then(|memcg| memcg.usage_bytes));
    }
    report.system.as_ref().map(of_system).unwrap_or_default()
}

fn of_stat(stat: &BTreeMap<String, u64>, usage: Option<u64>) -> Vec<Item> {
    let size = |name: &str| stat.get(name).copied().filter(|size| *size > 0);
    let mut wholes: Vec<(&str, u64, &[&str])> =
        WHOLES.iter().filter_map(|(name, parts)| Some((*name, size(name)?, *parts))).collect();
    // Kernels before 5.18 have no sum of their own memory: its parts stand for themselves.
    if !stat.contains_key("kernel") {
        wholes.extend(KERNEL_PARTS.iter().filter_map(|name| Some((*name, size(name)?, &[][..]))));
    }
    wholes.sort_by_key(|(_, size, _)| Reverse(*size));
    let usage = usage
        .or_else(|| Some(wholes.iter().map(|(_, size, _)| *size).fold(0, u64::saturating_add)));
    let mut items = Vec::new();
    for (name, bytes, parts) in wholes {
        items.push(item(name, bytes, usage, false));
        let mut parts: Vec<(&str, u64)> =
            parts.iter().filter_map(|name| Some((*name, size(name)?))).collect();
        parts.sort_by_key(|(_, size)| Reverse(*size));
        items.extend(parts.iter().map(|(name, bytes)| item(name, *bytes, usage, true)));
    }
    items
}

fn item(name: &str, bytes: u64, whole: Option<u64>, is_part: bool) -> Item {
    Item {
        name: super::safe(name),
        size: units::bytes(bytes),
        permille: whole.and_then(|whole| permille(bytes, whole)),
        is_part,
    }
}

fn of_system(system: &System) -> Vec<Item> {
    let mut sizes: Vec<(&str, u64)> = [
        ("free", system.free_bytes),
        ("anon", system.anon_bytes),
        ("file", system.file_bytes),
        ("shmem", system.shmem_bytes),
        ("slab, unreclaimable", system.slab_unreclaimable_bytes),
        ("slab, reclaimable", system.slab_reclaimable_bytes),
        ("page tables", system.page_tables_bytes),
        ("kernel stacks", system.kernel_stack_bytes),
        ("per-CPU", system.percpu_bytes),
        ("huge pages", system.hugetlb_bytes),
    ]
    .into_iter()
    .filter_map(|(name, size)| Some((name, size.filter(|size| *size > 0)?)))
    .collect();
    sizes.sort_by_key(|(_, size)| Reverse(*size));
    sizes.iter().map(|(name, size)| item(name, *size, system.total_bytes, false)).collect()
}

/// What the shares are of, and how old the figures are.
pub(in crate::output::explain) fn note(report: &OomReport) -> Option<String> {
    if let Some(memcg) = report.oom_memcg.as_ref().filter(|memcg| memcg.stat.is_some()) {
        let stale = if memcg.stat_is_stale { ", up to 2 s old" } else { "" };
        let of =
            memcg.usage_bytes.map(|usage| format!(", shares of the {} used", units::bytes(usage)));
        return Some(format!(
            "memory.stat before anybody was killed{}{stale}",
            of.unwrap_or_default()
        ));
    }
    let system = report.system.as_ref()?;
    let of = system.total_bytes.map(|total| format!(", shares of {} of RAM", units::bytes(total)));
    let age = system.age_ns.map(std::time::Duration::from_nanos).map(units::duration);
    let age = age.map(|age| format!(", read {age} after the OOM killer was entered"));
    let swap = match (system.swap_free_bytes, system.swap_total_bytes) {
        (_, Some(0)) => "; there is no swap".to_owned(),
        (Some(free), Some(total)) => {
            format!("; swap {} free of {}", units::bytes(free), units::bytes(total))
        }
        _ => String::new(),
    };
    Some(format!("the host's memory{}{}{swap}", of.unwrap_or_default(), age.unwrap_or_default()))
}
