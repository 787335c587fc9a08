//! The machine's memory, which the kernel prints if no memory cgroup was at its limit.

use super::{super::parser::meminfo::MemInfo, ReportInput};
use crate::model::report::{Node, System, Zone};

pub(super) fn system(input: ReportInput<'_>) -> Option<System> {
    let memory = input.block.memory.as_ref().filter(|_| !input.block.is_torn)?;
    let pages = |name: &str| memory.pages.get(name).and_then(|pages| input.bytes(*pages));
    let kib = |size: Option<u64>| size?.checked_mul(1024);
    let ram = memory.ram_pages.zip(memory.reserved_pages);
    let files = pages("active_file").zip(pages("inactive_file"));
    let system = System {
        total_bytes: ram.and_then(|(all, kept)| input.bytes(all.checked_sub(kept)?)),
        free_bytes: pages("free"),
        file_bytes: files.and_then(|(active, inactive)| active.checked_add(inactive)),
        shmem_bytes: pages("shmem"),
        unevictable_bytes: pages("unevictable"),
        slab_reclaimable_bytes: pages("slab_reclaimable"),
        slab_unreclaimable_bytes: pages("slab_unreclaimable"),
        kernel_stack_bytes: kib(memory.kernel_stack_kib),
        page_tables_bytes: pages("pagetables"),
        hugetlb_bytes: kib(memory.hugetlb_kib),
        swap_total_bytes: kib(memory.swap_total_kib),
        swap_free_bytes: kib(memory.swap_free_kib),
        nodes: nodes(memory),
        ..System::default()
    };
    (system != System::default()).then_some(system)
}

fn nodes(memory: &MemInfo) -> Option<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for zone in memory.zones.iter().filter(|zone| zone.managed > 0) {
        let bytes = |kib: u64| kib.saturating_mul(1024);
        if nodes.last().is_none_or(|node| node.node != zone.node) {
            nodes.push(Node { node: zone.node, ..Node::default() });
        }
        let node = nodes.last_mut()?;
        node.free_bytes = node.free_bytes.saturating_add(bytes(zone.free));
        node.zones.push(Zone {
            name: zone.name.clone(),
            free_bytes: bytes(zone.free),
            min_bytes: bytes(zone.min),
            low_bytes: bytes(zone.low),
            high_bytes: bytes(zone.high),
            managed_bytes: bytes(zone.managed),
        });
    }
    (!nodes.is_empty()).then_some(nodes)
}
