//! What the memory of a domain was: anonymous, shared, page cache, the kernel's own.

use std::collections::BTreeMap;

use super::domain::percent;
use crate::{
    fmt::units,
    model::{
        memcg_stat::KERNEL_PARTS,
        report::{OomReport, System},
    },
};

/// Sizes of the kinds of memory, bytes; absent where not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) anon: Option<u64>,
    /// tmpfs and shared memory.
    pub(super) shmem: Option<u64>,
    /// Page cache of files on disk: without shmem.
    pub(super) cache: Option<u64>,
    /// Of the cache: changed, not written yet, or being written.
    pub(super) unwritten: Option<u64>,
    /// Locked, or otherwise never reclaimed.
    pub(super) unevictable: Option<u64>,
    /// All of the kernel's own.
    pub(super) kernel: Option<u64>,
    /// Of that, by the kernel's names, the largest first.
    pub(super) kernel_parts: Vec<(&'static str, u64)>,
}

impl Kinds {
    pub(super) fn of_memcg(report: &OomReport) -> Self {
        let stat = report.oom_memcg.as_ref().and_then(|memcg| memcg.stat.as_ref());
        let mut kinds = stat.map(of_stat).unwrap_or_default();
        // cgroup v1 counts it apart; where memory.stat has no sum of its own, that is better.
        let hit = report.limit_chain.iter().flatten().find(|level| level.hit);
        let counted = hit.and_then(|level| level.kmem_usage_bytes);
        kinds.kernel = kinds.kernel.max(counted);
        kinds
    }

    pub(super) fn of_host(report: &OomReport) -> Self {
        report.system.as_ref().map(of_system).unwrap_or_default()
    }

    /// "anon 63.9 MiB (99 %)" of those that matter, the largest first.
    pub(super) fn told(&self, whole: u64) -> Option<String> {
        let kinds = [
            ("anon", self.anon),
            ("tmpfs and shared memory", self.shmem),
            ("page cache", self.cache),
            ("kernel", self.kernel),
        ];
        let mut known: Vec<(&str, u64)> =
            kinds.into_iter().filter_map(|(name, size)| Some((name, size?))).collect();
        known.retain(|(_, size)| *size > 0 && *size >= whole / 100);
        known.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let told = known.iter().map(|(name, size)| {
            format!("{name} {} ({})", units::bytes(*size), percent(*size, whole))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| format!("its memory was {}", told.join(", ")))
    }
}

fn of_stat(stat: &BTreeMap<String, u64>) -> Kinds {
    let size = |name: &str| stat.get(name).copied();
    // The second name is that of cgroup v1.
    let either = |v2: &str, v1: &str| size(v2).or_else(|| size(v1));
    let shmem = size("shmem");
    // `sock` is not in `kernel`.
    let parts = KERNEL_PARTS.into_iter().chain(["sock"]);
    let parts = parts.filter_map(|name| Some((name, size(name)?)));
    let parts: Vec<_> = parts.collect();
    let sum = (!parts.is_empty()).then(|| total(parts.iter().map(|(_, size)| *size)));
    let with_sockets =
        size("kernel").map(|kernel| kernel.saturating_add(size("sock").unwrap_or_default()));
    Kinds {
        anon: either("anon", "rss"),
        shmem,
        cache: either("file", "cache").map(|file| file.saturating_sub(shmem.unwrap_or_default())),
        unwritten: sum_known([
            either("file_dirty", "dirty"),
            either("file_writeback", "writeback"),
        ]),
        unevictable: size("unevictable"),
        kernel: with_sockets.max(sum),
        kernel_parts: largest_first(parts),
    }
}

fn of_system(system: &System) -> Kinds {
    let parts = [
        ("slab_unreclaimable", system.slab_unreclaimable_bytes),
        ("slab_reclaimable", system.slab_reclaimable_bytes),
        ("kernel_stack", system.kernel_stack_bytes),
        ("pagetables", system.page_tables_bytes),
        ("percpu", system.percpu_bytes),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(name, size)| Some((name, size?))).collect();
    Kinds {
        anon: system.anon_bytes,
        shmem: system.shmem_bytes,
        cache: system.file_bytes,
        unwritten: None,
        unevictable: system.unevictable_bytes,
        kernel: (!parts.is_empty()).then(|| total(parts.iter().map(|(_, size)| *size))),
        kernel_parts: largest_first(parts),
    }
}

fn sum_known<const N: usize>(sizes: [Option<u64>; N]) -> Option<u64> {
    let known: Vec<u64> = sizes.into_iter().flatten().collect();
    (!known.is_empty()).then(|| total(known.into_iter()))
}

fn largest_first(mut parts: Vec<(&'static str, u64)>) -> Vec<(&'static str, u64)> {
    parts.retain(|(_, size)| *size > 0);
    parts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    parts
}

/// A sum of numbers that may come from a file, and be anything.
pub(super) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}
