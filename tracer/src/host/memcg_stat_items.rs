//! The statistics that this kernel keeps of a memcg, and the number of each. They are facts for
//! [`crate::model::memcg_stat`]; recordings have the list.

use super::btf::KernelBtf;
use crate::model::memcg_stat::{StatItem, Unit};

/// The enums that number them. (In 5.10 `NR_PAGETABLE` is in a third enum and no memcg statistic.)
pub(super) const ENUMS: &[&str] = &["node_stat_item", "memcg_stat_item"];

/// Name in memory.stat, enumerator, unit; in the order of the kernel's own table.
/// <https://github.com/torvalds/linux/blob/v6.12/mm/memcontrol.c>, `memory_stats`
#[rustfmt::skip]
const ITEMS: &[(&str, &str, Unit)] = &[
    ("anon",               "NR_ANON_MAPPED",          Unit::Pages),
    ("file",               "NR_FILE_PAGES",           Unit::Pages),
    ("kernel",             "MEMCG_KMEM",              Unit::Pages),
    ("kernel_stack",       "NR_KERNEL_STACK_KB",      Unit::Kib),
    ("pagetables",         "NR_PAGETABLE",            Unit::Pages),
    ("sec_pagetables",     "NR_SECONDARY_PAGETABLE",  Unit::Pages),
    ("percpu",             "MEMCG_PERCPU_B",          Unit::Bytes),
    ("sock",               "MEMCG_SOCK",              Unit::Pages),
    ("vmalloc",            "MEMCG_VMALLOC",           Unit::Pages),
    // Its enumerator in 7.x.
    ("vmalloc",            "NR_VMALLOC",              Unit::Pages),
    ("shmem",              "NR_SHMEM",                Unit::Pages),
    ("zswap",              "MEMCG_ZSWAP_B",           Unit::Bytes),
    ("zswapped",           "MEMCG_ZSWAPPED",          Unit::Pages),
    ("file_mapped",        "NR_FILE_MAPPED",          Unit::Pages),
    ("file_dirty",         "NR_FILE_DIRTY",           Unit::Pages),
    ("file_writeback",     "NR_WRITEBACK",            Unit::Pages),
    ("swapcached",         "NR_SWAPCACHE",            Unit::Pages),
    ("anon_thp",           "NR_ANON_THPS",            Unit::Pages),
    ("file_thp",           "NR_FILE_THPS",            Unit::Pages),
    ("shmem_thp",          "NR_SHMEM_THPS",           Unit::Pages),
    ("inactive_anon",      "NR_INACTIVE_ANON",        Unit::Pages),
    ("active_anon",        "NR_ACTIVE_ANON",          Unit::Pages),
    ("inactive_file",      "NR_INACTIVE_FILE",        Unit::Pages),
    ("active_file",        "NR_ACTIVE_FILE",          Unit::Pages),
    ("unevictable",        "NR_UNEVICTABLE",          Unit::Pages),
    ("slab_reclaimable",   "NR_SLAB_RECLAIMABLE_B",   Unit::Bytes),
    ("slab_unreclaimable", "NR_SLAB_UNRECLAIMABLE_B", Unit::Bytes),
    ("hugetlb",            "NR_HUGETLB",              Unit::Pages),
];

/// Before 5.11 these count huge pages, whose size is not in BTF. Such a kernel is recognized by
/// counters in the memcg itself, where they were until 5.13.
const IN_HUGE_PAGES: [&str; 3] = ["anon_thp", "file_thp", "shmem_thp"];

pub(super) fn enumerators() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().map(|(_, enumerator, _)| *enumerator)
}

pub(super) fn items(btf: &KernelBtf) -> Vec<StatItem> {
    let in_memcg = btf.locate("mem_cgroup.vmstats[0]").is_ok();
    let known = ITEMS.iter().filter(|(name, ..)| !(in_memcg && IN_HUGE_PAGES.contains(name)));
    known
        .filter_map(|&(name, enumerator, unit)| {
            let enumerator = btf.enumerator(enumerator)?;
            Some(StatItem { name: name.to_owned(), enumerator, unit })
        })
        .collect()
}

/// Whether the kernel keeps fewer counters than it has numbers. Then its table
/// `mem_cgroup_stats_index` has the place of each.
pub(super) fn has_table(btf: &KernelBtf, items: &[StatItem]) -> bool {
    let Ok(state) = btf.locate("memcg_vmstats.state") else {
        return false;
    };
    let counters = state.size / size_of::<i64>() as u64;
    items.iter().any(|item| u64::from(item.enumerator) >= counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixtures;

    fn enumerator(series: &str, name: &str) -> Option<u32> {
        let items = items(&fixtures::btf(series));
        items.into_iter().find(|item| item.name == name).map(|item| item.enumerator)
    }

    #[test]
    fn items_have_the_numbers_that_bpftool_shows() {
        for (name, expected) in [
            ("anon", [Some(17); 6]),
            ("kernel", [None, None, Some(47), Some(51), Some(55), Some(72)]),
            ("kernel_stack", [Some(36), Some(36), Some(37), Some(37), Some(36), Some(37)]),
            ("pagetables", [None, None, Some(38), Some(38), Some(37), Some(38)]),
            ("percpu", [Some(39), Some(39), Some(45), Some(49), Some(53), Some(71)]),
            ("vmalloc", [None, None, Some(46), Some(50), Some(54), Some(36)]),
            ("anon_thp", [None, None, Some(28), Some(28), Some(27), Some(27)]),
        ] {
            let found = fixtures::SERIES.map(|series| enumerator(series, name));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn kernels_since_6_12_have_a_table() {
        let has_table = |series| {
            let btf = fixtures::btf(series);
            has_table(&btf, &items(&btf))
        };
        let expected = [false, false, false, true, true, true];
        assert_eq!(fixtures::SERIES.map(has_table), expected);
    }
}
