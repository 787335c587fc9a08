//! The kinds of memory: memory.stat or the host's figures, the largest first, parts below wholes.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::permille;
use crate::{
    fmt::units,
    model::{
        memcg_stat::KERNEL_PARTS,
        report::{OomReport, System},
    },
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryItem {
    pub(crate) name: String,
    pub(crate) size: String,
    pub(crate) permille: Option<u64>,
    /// It is part of the item above it that is not.
    pub(crate) is_part: bool,
}

/// Wholes of memory.stat and their parts. Names of cgroup v1 stand beside those of v2.
const WHOLES: [(&str, &[&str]); 6] = [
    ("anon", &["anon_thp"]),
    ("rss", &["rss_huge"]),
    ("file", &["shmem", "file_mapped", "file_dirty", "file_writeback", "file_thp", "shmem_thp"]),
    ("cache", &["shmem", "mapped_file", "dirty", "writeback"]),
    ("kernel", &KERNEL_PARTS),
    ("sock", &[]),
];

/// The kinds of memory of the oom_memcg, or of the host.
pub(crate) fn items(report: &OomReport) -> Vec<MemoryItem> {
    let memcg = report.oom_memcg.as_ref();
    if let Some(stat) = memcg.and_then(|memcg| memcg.stat.as_ref()) {
        return of_stat(stat, memcg.and_then(|memcg| memcg.usage_bytes));
    }
    report.system.as_ref().map(of_host).unwrap_or_default()
}

/// The memory of a cgroup. The shares are of `usage`, or of the sum if it is not known.
pub(crate) fn of_stat(stat: &BTreeMap<String, u64>, usage: Option<u64>) -> Vec<MemoryItem> {
    let size = |name: &str| stat.get(name).copied().filter(|size| *size > 0);
    let mut wholes: Vec<(&str, u64, &[&str])> =
        WHOLES.iter().filter_map(|(name, parts)| Some((*name, size(name)?, *parts))).collect();
    // Kernels before 5.18 have no sum of their own memory: its parts stand for themselves.
    if !stat.contains_key("kernel") {
        wholes.extend(KERNEL_PARTS.iter().filter_map(|name| Some((*name, size(name)?, &[][..]))));
    }
    wholes.sort_by_key(|(_, size, _)| Reverse(*size));
    let sum = || wholes.iter().map(|(_, size, _)| *size).fold(0, u64::saturating_add);
    let whole = Some(usage.unwrap_or_else(sum));
    let mut items = Vec::new();
    for (name, bytes, parts) in wholes {
        items.push(item(name, bytes, whole, false));
        let mut parts: Vec<(&str, u64)> =
            parts.iter().filter_map(|name| Some((*name, size(name)?))).collect();
        parts.sort_by_key(|(_, size)| Reverse(*size));
        items.extend(parts.iter().map(|(name, bytes)| item(name, *bytes, whole, true)));
    }
    items
}

fn item(name: &str, bytes: u64, whole: Option<u64>, is_part: bool) -> MemoryItem {
    MemoryItem {
        name: super::safe(name),
        size: units::bytes(bytes),
        permille: whole.and_then(|whole| permille(bytes, whole)),
        is_part,
    }
}

/// The host's memory.
pub(crate) fn of_host(system: &System) -> Vec<MemoryItem> {
    let mut sizes: Vec<(&str, u64)> = [
        ("free", system.free_bytes),
        ("anon", system.anon_bytes),
        ("file", system.file_bytes),
        ("shmem", system.shmem_bytes),
        ("unreclaimable slab", system.slab_unreclaimable_bytes),
        ("reclaimable slab", system.slab_reclaimable_bytes),
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

/// The note for a report without recorded growth.
pub(crate) fn without_growth(items: &[MemoryItem]) -> &'static str {
    if items.is_empty() {
        "Growth was not recorded, nor what the memory was in the end."
    } else {
        "Growth was not recorded; this is what the memory was in the end."
    }
}

/// The origin and the age of the figures, and the whole that the shares are of.
pub(crate) fn note(report: &OomReport) -> Option<String> {
    if let Some(memcg) = report.oom_memcg.as_ref().filter(|memcg| memcg.stat.is_some()) {
        let stale = if memcg.stat_is_stale { ", up to 2 s old" } else { "" };
        let usage = memcg.usage_bytes.map(units::bytes);
        let of = usage.map(|usage| format!(", shares of the {usage} used")).unwrap_or_default();
        return Some(format!("memory.stat before any kill{of}{stale}"));
    }
    let system = report.system.as_ref()?;
    let of = system.total_bytes.map(|total| format!(", shares of {} of RAM", units::bytes(total)));
    let age = system.age_ns.map(Duration::from_nanos).map(units::duration);
    let parts = [
        of,
        age.map(|age| format!(", read {age} after the OOM killer was entered")),
        swap(system).map(|swap| format!("; {swap}")),
    ];
    Some(format!("the host's memory{}", parts.map(Option::unwrap_or_default).concat()))
}

/// "swap 1 GiB free of 2 GiB"
pub(crate) fn swap(system: &System) -> Option<String> {
    match (system.swap_free_bytes, system.swap_total_bytes) {
        (_, Some(0)) => Some("no swap".to_owned()),
        (Some(free), total) => Some(format!("swap {}", free_of(free, total))),
        (None, _) => None,
    }
}

/// "11.3 MiB free of 318.6 MiB"
pub(crate) fn free_of(free: u64, total: Option<u64>) -> String {
    let of = total.map(|total| format!(" of {}", units::bytes(total))).unwrap_or_default();
    format!("{} free{of}", units::bytes(free))
}

/// "anon 47.8 MiB" for each kind with a share of at least `least` thousandths, the largest first.
pub(crate) fn largest(items: &[MemoryItem], limit: usize, least: u64) -> Vec<String> {
    let is_shown = |item: &&MemoryItem| {
        // tmpfs is in `file`, and cannot be reclaimed as that can.
        let is_kind = !item.is_part || item.name == "shmem";
        is_kind && item.name != "free" && item.permille.is_none_or(|share| share >= least)
    };
    let shown = items.iter().filter(is_shown).take(limit);
    let text = |item: &MemoryItem| {
        let of_which = if item.is_part { "of which " } else { "" };
        format!("{of_which}{} {}", item.name, item.size)
    };
    shown.map(text).collect()
}
