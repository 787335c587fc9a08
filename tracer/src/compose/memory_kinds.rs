//! The kinds of memory that a memory cgroup or the host used: anonymous, shared, page cache, the
//! kernel's own. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::model::{
    memcg_stat::KERNEL_PARTS,
    report::{OomReport, System},
};

/// Sizes of the kinds of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryKinds {
    pub(crate) anon: Option<u64>,
    /// tmpfs and shared memory.
    pub(crate) shmem: Option<u64>,
    /// Page cache of files on disk: without shmem.
    pub(crate) cache: Option<u64>,
    /// The part of the cache that is dirty or under writeback.
    pub(crate) unwritten: Option<u64>,
    /// Locked, or otherwise never reclaimed.
    pub(crate) unevictable: Option<u64>,
    /// All of the kernel's own.
    pub(crate) kernel: Option<u64>,
    /// The parts of `kernel` by the kernel's names, the largest first.
    pub(crate) kernel_parts: Vec<(&'static str, u64)>,
}

impl MemoryKinds {
    pub(crate) fn of_memcg(report: &OomReport) -> Self {
        let stat = report.oom_memcg.as_ref().and_then(|memcg| memcg.stat.as_ref());
        let mut kinds = stat.map(of_stat).unwrap_or_default();
        // cgroup v1 counts it apart; where memory.stat has no sum of its own, that is better.
        let hit = report.limit_chain.iter().flatten().find(|level| level.hit);
        let counted = hit.and_then(|level| level.kmem_usage_bytes);
        kinds.kernel = kinds.kernel.max(counted);
        kinds
    }

    pub(crate) fn of_host(report: &OomReport) -> Self {
        report.system.as_ref().map(of_system).unwrap_or_default()
    }
}

/// Page cache of files on disk: the kernel counts tmpfs and shared memory as files as well.
fn less_shmem(stat: &BTreeMap<String, u64>, file_bytes: u64) -> u64 {
    file_bytes.saturating_sub(stat.get("shmem").copied().unwrap_or_default())
}

/// Those of these items that are known.
fn sizes(
    stat: &BTreeMap<String, u64>,
    names: impl IntoIterator<Item = &'static str>,
) -> Vec<(&'static str, u64)> {
    names.into_iter().filter_map(|name| Some((name, *stat.get(name)?))).collect()
}

fn of_stat(stat: &BTreeMap<String, u64>) -> MemoryKinds {
    let size = |name: &str| stat.get(name).copied();
    // The second name is that of cgroup v1.
    let either = |v2: &str, v1: &str| size(v2).or_else(|| size(v1));
    // `sock` is not in `kernel`.
    let parts = sizes(stat, KERNEL_PARTS.into_iter().chain(["sock"]));
    let with_sockets =
        size("kernel").map(|kernel| kernel.saturating_add(size("sock").unwrap_or_default()));
    MemoryKinds {
        anon: either("anon", "rss"),
        shmem: size("shmem"),
        cache: either("file", "cache").map(|file| less_shmem(stat, file)),
        unwritten: sum_known([
            either("file_dirty", "dirty"),
            either("file_writeback", "writeback"),
        ]),
        unevictable: size("unevictable"),
        kernel: with_sockets.max(sum_known(parts.iter().map(|(_, size)| Some(*size)))),
        kernel_parts: largest_first(parts),
    }
}

fn of_system(system: &System) -> MemoryKinds {
    let parts = [
        ("slab_unreclaimable", system.slab_unreclaimable_bytes),
        ("slab_reclaimable", system.slab_reclaimable_bytes),
        ("kernel_stack", system.kernel_stack_bytes),
        ("pagetables", system.page_tables_bytes),
        ("percpu", system.percpu_bytes),
    ];
    let known_parts: Vec<_> =
        parts.into_iter().filter_map(|(name, size)| Some((name, size?))).collect();
    MemoryKinds {
        anon: system.anon_bytes,
        shmem: system.shmem_bytes,
        cache: system.file_bytes,
        unwritten: None,
        unevictable: system.unevictable_bytes,
        kernel: sum_known(known_parts.iter().map(|(_, size)| Some(*size))),
        kernel_parts: largest_first(known_parts),
    }
}

fn sum_known(sizes: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    sizes.into_iter().flatten().reduce(u64::saturating_add)
}

fn largest_first(mut parts: Vec<(&'static str, u64)>) -> Vec<(&'static str, u64)> {
    parts.retain(|(_, size)| *size > 0);
    parts.sort_by_key(|(_, size)| Reverse(*size));
    parts
}

/// A sum of numbers that may come from a file, and be anything.
pub(crate) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shmem_is_not_counted_as_page_cache() {
        let stat: BTreeMap<String, u64> =
            [("file", 500), ("shmem", 400), ("anon", 90)].map(|(k, v)| (k.to_owned(), v)).into();
        let kinds = of_stat(&stat);
        assert_eq!((kinds.cache, kinds.shmem, kinds.kernel), (Some(100), Some(400), None));
    }
}
