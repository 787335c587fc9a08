//! Memory that a kill frees slowly or not at all: the kernel's own, tmpfs, page cache that waits to
//! be written or is protected; and a full swap.

use super::{
    Finding,
    domain::{cgroup_name, percent},
    input::VerdictInput,
    limit,
};
use crate::{fmt::units, model::report::LimitLevel};

/// Most of the memory is the kernel's own.
pub(super) fn kernel(input: &VerdictInput<'_>) -> Option<Finding> {
    let kinds = &input.domain.kinds;
    let (finding, _) = mostly(input, kinds.kernel?, "is the kernel's own memory")?;
    let largest_parts: Vec<String> = kinds
        .kernel_parts
        .iter()
        .take(3)
        .map(|(name, size)| format!("{name} {}", units::bytes(*size)))
        .collect();
    let parts =
        (!largest_parts.is_empty()).then(|| format!("of that, {}", largest_parts.join(", ")));
    let largest = kinds.kernel_parts.first().map(|(name, _)| kernel_advice(name).to_owned());
    Some(finding.evidence(parts).advice(largest).advice(limit::raise(input)))
}

/// The usual source of each kind of the kernel's memory.
fn kernel_advice(part: &str) -> &'static str {
    match part {
        "slab_reclaimable" => "slab_reclaimable: mostly names and inodes of very many files",
        "kernel_stack" => "kernel_stack: very many threads; limit them with pids.max",
        "pagetables" | "sec_pagetables" => {
            "page tables: very large mappings, or one mapped by many; huge pages make them small"
        }
        "percpu" => "percpu: many cgroups, BPF maps or network devices, times the CPUs",
        "vmalloc" => "vmalloc: large buffers of the kernel; see /proc/vmallocinfo",
        "sock" => "sock: socket buffers; limit net.ipv4.tcp_rmem, tcp_wmem, or the connections",
        _ => "slab_unreclaimable: see which objects in /proc/slabinfo (slabtop)",
    }
}

/// Most of the memory is tmpfs or shared memory.
pub(super) fn shared(input: &VerdictInput<'_>) -> Option<Finding> {
    let shmem = input.domain.kinds.shmem?;
    let (finding, _) = mostly(input, shmem, "is tmpfs or shared memory")?;
    let mapped_bytes = input.report.victims.iter().filter_map(|it| it.shmem_rss_bytes).max();
    let mapped = mapped_bytes
        .map(|bytes| format!("the victim had {} of shared memory mapped", units::bytes(bytes)));
    let stays =
        "files on a tmpfs stay when their writer is killed, and so does what others map too";
    let advice = "delete files (df -t tmpfs, /dev/shm), limit the tmpfs by its size= option, or \
                  let it swap";
    Some(
        finding
            .evidence(mapped)
            .evidence([stays.to_owned()])
            .advice([advice.to_owned()])
            .advice(limit::raise(input)),
    )
}

/// Most of the memory is page cache that was not reclaimed.
pub(super) fn page_cache(input: &VerdictInput<'_>) -> Option<Finding> {
    let kinds = &input.domain.kinds;
    let (finding, cache) = mostly(input, kinds.cache?, "is page cache that was not reclaimed")?;
    let unwritten = kinds.unwritten.map(|bytes| {
        let share = percent(bytes, cache);
        format!("{} of that ({share}) waited to be written to disk", units::bytes(bytes))
    });
    let unevictable = kinds.unevictable.filter(|bytes| *bytes > 0);
    let locked =
        unevictable.map(|bytes| format!("{} are unevictable (locked)", units::bytes(bytes)));
    let waits = kinds.unwritten.is_some_and(|bytes| bytes >= cache.div_ceil(2));
    let unknown = (!waits && locked.is_none()).then(|| {
        "why the rest was not reclaimed is not recorded: pages in use, or memory.min of cgroups \
         beside"
            .to_owned()
    });
    let fix = waits.then(|| {
        "write in smaller portions (fsync, sync_file_range), or throttle with memory.high below \
         memory.max"
            .to_owned()
    });
    Some(
        finding
            .evidence(unwritten)
            .evidence(locked)
            .evidence(unknown)
            .advice(fix)
            .advice(limit::raise(input)),
    )
}

/// "... of the 64 MiB that /pod used is ...", if that is at least half of it.
fn mostly(input: &VerdictInput<'_>, bytes: u64, what: &str) -> Option<(Finding, u64)> {
    if !input.is_shortage() || !input.domain.is_mostly(bytes) {
        return None;
    }
    let (name, whole) = (input.domain.name.as_deref()?, input.domain.whole()?);
    let (size, whole_size) = (units::bytes(bytes), units::bytes(whole));
    let verb = if input.domain.is_memcg { "used" } else { "has" };
    let share = percent(bytes, whole);
    let sentence = format!("{size} of the {whole_size} that {name} {verb} {what} ({share})");
    Some((Finding::new(sentence).evidence(limit::kinds(input)), bytes))
}

/// memory.min keeps page cache from being reclaimed. memory.low does not: the kernel ignores it
/// before it kills.
pub(super) fn protected(input: &VerdictInput<'_>) -> Option<Finding> {
    let kinds = &input.domain.kinds;
    let held = kinds.unwritten.unwrap_or_default().saturating_add(kinds.unevictable.unwrap_or(0));
    let clean = kinds.cache?.saturating_sub(held);
    let whole = input.domain.whole()?;
    // Every cgroup keeps some clean page cache, less than a tenth of its memory.
    if !input.is_shortage() || clean < whole.div_ceil(10) {
        return None;
    }
    let (level, min) = input.levels_below().iter().find_map(|level| Some((level, min(level)?)))?;
    let name = cgroup_name(&level.cgroup)?;
    let sentence = format!(
        "{} of page cache could have been reclaimed, but memory.min protects {} in {name}",
        units::bytes(clean),
        min.map_or_else(|| "all".to_owned(), units::bytes)
    );
    let cache = "how much of that cache lies in the protected cgroup is not recorded".to_owned();
    let advice = format!("lower memory.min of {name}, or protect with memory.low: it gives way");
    Some(Finding::new(sentence).evidence([cache]).advice([advice]))
}

/// memory.min, if it protects anything; `Some(None)` if it protects all.
#[expect(clippy::option_option, reason = "nothing and everything are two answers")]
fn min(level: &LimitLevel) -> Option<Option<u64>> {
    if level.min_no_limit {
        return Some(None);
    }
    level.min_bytes.filter(|min| *min > 0).map(Some)
}

/// Swap was available, and full.
pub(super) fn swap_full(input: &VerdictInput<'_>) -> Option<Finding> {
    if !input.is_shortage() {
        return None;
    }
    let (name, used, size) = if let Some(memcg) = &input.report.oom_memcg {
        (input.domain.name.as_deref()?, memcg.swap_usage_bytes?, memcg.swap_max_bytes?)
    } else {
        let system = input.report.system.as_ref()?;
        let (free, total) = (system.swap_free_bytes?, system.swap_total_bytes?);
        ("the host", total.checked_sub(free)?, total)
    };
    // The counters may differ from the size by up to a hundredth.
    if size == 0 || used < size - size / 100 {
        return None;
    }
    let (used, size) = (units::bytes(used), units::bytes(size));
    let sentence = format!("the swap of {name} was full: {used} of {size}");
    let knob = if input.domain.is_memcg { "raise memory.swap.max" } else { "add swap" };
    let advice = format!("{knob}, if what was swapped out was not needed soon");
    Some(Finding::new(sentence).advice([advice]))
}
