//! The size of the domain that ran out of memory, computed as the kernel does, if the log has the
//! parts.

use super::super::{
    Context,
    parser::{block::Block, lines::SummaryNames, memcg::CounterKind},
};
use crate::compose::limits::NO_LIMIT_KIB;

/// Bytes of a page: known if the log has one size in two units.
pub(super) fn page_size(block: &Block, context: &Context) -> Option<u64> {
    let free_list = block.memory.as_ref().and_then(|memory| memory.page_kib);
    let found = free_list.or_else(|| by_virtual_size(block)).map(|kib| kib.saturating_mul(1024));
    let is_one = |size: &u64| [4096, 16384, 65536].contains(size);
    context.page_size.or(found.filter(is_one))
}

/// A victim's virtual size is in KiB in one line and in pages in another.
fn by_virtual_size(block: &Block) -> Option<u64> {
    let table = block.table.as_ref()?;
    let (kill, _) = block.kills.first()?;
    let (kib, pages) = (kill.total_vm_kib?, table.find(kill.tid)?.total_vm);
    let divides = pages > 0 && kib.is_multiple_of(pages);
    divides.then(|| kib / pages)
}

/// `oom_control.totalpages`: `mem_cgroup_get_max()`, or of `constrained_alloc()`.
pub(super) fn totalpages(
    block: &Block,
    context: &Context,
    names: &SummaryNames,
    page_size: Option<u64>,
) -> Option<u64> {
    let page_kib = page_size? / 1024;
    if block.is_torn || !block.mixed.is_empty() {
        return None;
    }
    match &block.summary {
        Some(summary) if summary.constraint == "MEMCG" => of_memcg(block, context, page_kib),
        Some(summary) => {
            let nodes = match summary.constraint.as_str() {
                "CPUSET" => Some(names.mems_allowed.as_deref()?),
                "MEMORY_POLICY" => Some(summary.nodemask.as_str()),
                "NONE" => None,
                _ => return None,
            };
            of_machine(block, nodes, page_kib)
        }
        None if super::has_memcg(block) => of_memcg(block, context, page_kib),
        None => None,
    }
}

/// The limit, and the swap that may be used with it. The log does not contain the size of the
/// host's swap.
fn of_memcg(block: &Block, context: &Context, page_kib: u64) -> Option<u64> {
    let limit = |kind: CounterKind| block.counters.get(&kind).map(|counter| counter.limit_kib);
    let memory = limit(CounterKind::Memory).filter(|limit| *limit < NO_LIMIT_KIB)?;
    let memsw = limit(CounterKind::Memsw).map(|both| both.saturating_sub(memory));
    let may_swap = limit(CounterKind::Swap).or(memsw);
    let swap = match (may_swap, context.swap_total_bytes) {
        (Some(0), _) | (_, Some(0)) => 0,
        // With swap, vm.swappiness or the memcg's swappiness counts as well.
        _ => return None,
    };
    Some((memory + swap) / page_kib)
}

fn of_machine(block: &Block, nodes: Option<&str>, page_kib: u64) -> Option<u64> {
    let memory = block.memory.as_ref()?;
    let swap = memory.swap_total_kib? / page_kib;
    let pages = match nodes {
        None => memory.ram_pages?.checked_sub(memory.reserved_pages?)?,
        Some(nodes) => {
            let mut sum = 0_u64;
            for node in parse_nodes(nodes)? {
                let mut zones = memory.zones.iter().filter(|zone| zone.node == node).peekable();
                zones.peek()?;
                sum = zones.try_fold(sum, |sum, zone| sum.checked_add(zone.present))?;
            }
            sum / page_kib
        }
    };
    pages.checked_add(swap)
}

/// Parses a node list of the kernel, for example `0-1,3`.
fn parse_nodes(text: &str) -> Option<Vec<u32>> {
    let mut nodes = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        // MAX_NUMNODES is 1024.
        (first <= last && last < 1024).then(|| nodes.extend(first..=last))?;
    }
    Some(nodes)
}
