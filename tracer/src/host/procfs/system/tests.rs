//! Files as kernels write them, damaged files, and those of this host.

use std::fs;

use super::SystemFiles;
use crate::{
    host::files::Root,
    model::report::{Node, System, Zone},
};

/// From 5.10, shortened.
const MEMINFO: &str = "\
MemTotal:         487636 kB
MemFree:            9604 kB
MemAvailable:          0 kB
Active(file):          8 kB
Inactive(file):       12 kB
Unevictable:           0 kB
SwapTotal:             0 kB
SwapFree:              0 kB
AnonPages:        431880 kB
Shmem:               112 kB
SReclaimable:       4636 kB
SUnreclaim:        12204 kB
KernelStack:        1232 kB
PageTables:         1644 kB
CommitLimit:      243816 kB
Committed_AS:     470572 kB
Percpu:              456 kB
HugePages_Total:       3
Hugetlb:            6144 kB
";

const ZONEINFO: &str = "\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 1082
      nr_free_cma  0
  pages free     483
        min      89
        low      111
        high     133
        spanned  4095
        present  3998
        managed  3840
        protection: (0, 410, 410, 410, 410)
      nr_free_pages 483
  pagesets
    cpu: 0
              count: 0
              high:  0
              batch: 1
  vm stats threshold: 2
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone    DMA32
  pages free     1918
        boost    0
        min      2735
        low      3418
        high     4101
        promo    4784
        managed  118069
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
Node 1, zone   Normal
  pages free     7
        min      5
        low      6
        high     8
        managed  100
";

fn read(meminfo: &str, zoneinfo: Option<&str>) -> System {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("proc")).unwrap();
    fs::write(folder.path().join("proc/meminfo"), meminfo).unwrap();
    if let Some(text) = zoneinfo {
        fs::write(folder.path().join("proc/zoneinfo"), text).unwrap();
    }
    SystemFiles::open(&Root::new(folder.path()), 4096).unwrap().read().unwrap()
}

fn zone(name: &str, [free, min, low, high, managed]: [u64; 5]) -> Zone {
    let bytes = |pages| pages * 4096;
    Zone {
        name: name.to_owned(),
        free_bytes: bytes(free),
        min_bytes: bytes(min),
        low_bytes: bytes(low),
        high_bytes: bytes(high),
        managed_bytes: bytes(managed),
    }
}

#[test]
fn meminfo_sizes_become_bytes() {
    let kib = |kib: u64| Some(kib * 1024);
    let expected = System {
        total_bytes: kib(487_636),
        free_bytes: kib(9604),
        available_bytes: kib(0),
        anon_bytes: kib(431_880),
        file_bytes: kib(20),
        shmem_bytes: kib(112),
        unevictable_bytes: kib(0),
        slab_reclaimable_bytes: kib(4636),
        slab_unreclaimable_bytes: kib(12_204),
        kernel_stack_bytes: kib(1232),
        page_tables_bytes: kib(1644),
        percpu_bytes: kib(456),
        hugetlb_bytes: kib(6144),
        swap_total_bytes: kib(0),
        swap_free_bytes: kib(0),
        commit_limit_bytes: kib(243_816),
        committed_bytes: kib(470_572),
        ..System::default()
    };
    assert_eq!(read(MEMINFO, None), expected);
}

#[test]
fn zones_with_memory_are_listed_by_node() {
    let dma = zone("DMA", [483, 89, 111, 133, 3840]);
    let dma32 = zone("DMA32", [1918, 2735, 3418, 4101, 118_069]);
    let first = Node { node: 0, free_bytes: (483 + 1918) * 4096, zones: vec![dma, dma32] };
    let normal = zone("Normal", [7, 5, 6, 8, 100]);
    let second = Node { node: 1, free_bytes: 7 * 4096, zones: vec![normal] };
    assert_eq!(read("", Some(ZONEINFO)).nodes, Some(vec![first, second]));
}

#[test]
fn absent_or_unparsable_values_are_unknown() {
    assert_eq!(read("", None), System::default());
    assert_eq!(
        read("MemFree: x kB\nMemTotal: 5\nShmem\nSwapFree: -1 kB\n", None),
        System::default()
    );
    assert_eq!(read("MemFree: 18446744073709551615 kB\n", None).free_bytes, None);
    assert_eq!(read("Active(file): 1 kB\nInactive(file): kB\n", None).file_bytes, None);
    assert_eq!(read("Inactive(file): 1 kB\n", None).file_bytes, None);
    let without_min = ZONEINFO.replace("min      89", "min      ?");
    let nodes = read("", Some(&without_min)).nodes.unwrap();
    let names: Vec<&str> = nodes[0].zones.iter().map(|zone| zone.name.as_str()).collect();
    assert_eq!(names, ["DMA32"]);
    assert_eq!(read("", Some("pages free 1\nNode x, zone DMA\n")).nodes, Some(Vec::new()));
}

#[test]
fn memory_of_this_host_is_plausible() {
    let mut files = SystemFiles::open(&Root::default(), 4096).unwrap();
    let system = files.read().unwrap();
    assert!(system.free_bytes < system.total_bytes && system.anon_bytes > Some(0));
    let nodes = system.nodes.unwrap();
    let free: u64 = nodes.iter().map(|node| node.free_bytes).sum();
    assert!(free > 0 && Some(free) < system.total_bytes, "{nodes:?}");
}
