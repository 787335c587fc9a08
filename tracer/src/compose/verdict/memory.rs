//! Memory that killing gives back slowly or not at all: the kernel's own, tmpfs, page cache that
//! waits to be written or is protected; and a full swap.

use super::{
    Finding,
    domain::{percent, place},
    facts::Facts,
    limit,
};
use crate::{fmt::units, model::report::LimitLevel};

/// Most of it is the kernel's own.
pub(super) fn kernel(facts: &Facts<'_>) -> Option<Finding> {
    let kinds = &facts.domain.kinds;
    let (finding, _) = mostly(facts, kinds.kernel?, "is the kernel's own memory")?;
    let told: Vec<String> = kinds
        .kernel_parts
        .iter()
        .take(3)
        .map(|(name, size)| format!("{name} {}", units::bytes(*size)))
        .collect();
    let parts = (!told.is_empty()).then(|| format!("of that, {}", told.join(", ")));
    let largest = kinds.kernel_parts.first().map(|(name, _)| kernel_advice(name).to_owned());
    Some(finding.evidence(parts).advice(largest).advice(limit::raise(facts)))
}

/// Where each kind of the kernel's memory comes from.
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

/// Most of it is tmpfs or shared memory.
pub(super) fn shared(facts: &Facts<'_>) -> Option<Finding> {
    let shmem = facts.domain.kinds.shmem?;
    let (finding, _) = mostly(facts, shmem, "is tmpfs or shared memory")?;
    let mapped = facts.report.victims.iter().filter_map(|victim| victim.shmem_rss_bytes).max();
    let mapped = mapped
        .map(|mapped| format!("the victim had {} of shared memory mapped", units::bytes(mapped)));
    let stays =
        "files on a tmpfs stay when their writer is killed, and so does what others map too";
    let advice = "delete files (df -t tmpfs, /dev/shm), limit the tmpfs by its size= option, or let \
                  it swap";
    let finding = finding.evidence(mapped).evidence([stays.to_owned()]);
    Some(finding.advice([advice.to_owned()]).advice(limit::raise(facts)))
}

/// Most of it is page cache that was not reclaimed.
pub(super) fn page_cache(facts: &Facts<'_>) -> Option<Finding> {
    let kinds = &facts.domain.kinds;
    let (finding, cache) = mostly(facts, kinds.cache?, "is page cache that was not reclaimed")?;
    let unwritten = kinds.unwritten.map(|bytes| {
        let share = percent(bytes, cache);
        format!("{} of that ({share}) waited to be written to disk", units::bytes(bytes))
    });
    let locked = kinds.unevictable.filter(|bytes| *bytes > 0);
    let locked = locked.map(|bytes| format!("{} are unevictable (locked)", units::bytes(bytes)));
    let waits = kinds.unwritten.is_some_and(|bytes| bytes >= cache.div_ceil(2));
    let unsaid = (!waits && locked.is_none()).then(|| {
        "why the rest was not reclaimed is not recorded: pages in use, or memory.min of cgroups \
         beside"
            .to_owned()
    });
    let mend = "write in smaller portions (fsync, sync_file_range), or throttle with memory.high \
                below memory.max";
    let mend = waits.then(|| mend.to_owned());
    let finding = finding.evidence(unwritten).evidence(locked).evidence(unsaid);
    Some(finding.advice(mend).advice(limit::raise(facts)))
}

/// "... of the 64 MiB that /pod used is ...", where that is most of it.
fn mostly(facts: &Facts<'_>, bytes: u64, what: &str) -> Option<(Finding, u64)> {
    if !facts.is_shortage() || !facts.domain.is_mostly(bytes) {
        return None;
    }
    let (name, whole) = (facts.domain.name.as_deref()?, facts.domain.whole()?);
    let (size, whole_size) = (units::bytes(bytes), units::bytes(whole));
    let verb = if facts.domain.is_memcg { "used" } else { "has" };
    let share = percent(bytes, whole);
    let sentence = format!("{size} of the {whole_size} that {name} {verb} {what} ({share})");
    Some((Finding::new(sentence).evidence(limit::kinds(facts)), bytes))
}

/// memory.min keeps page cache from being reclaimed. memory.low does not: the kernel overrides it
/// before it kills.
pub(super) fn protected(facts: &Facts<'_>) -> Option<Finding> {
    let kinds = &facts.domain.kinds;
    let held = kinds.unwritten.unwrap_or_default().saturating_add(kinds.unevictable.unwrap_or(0));
    let clean = kinds.cache?.saturating_sub(held);
    let whole = facts.domain.whole()?;
    // Less than a tenth is what every group keeps.
    if !facts.is_shortage() || clean < whole.div_ceil(10) {
        return None;
    }
    let (level, min) = facts.levels_below().iter().find_map(|level| Some((level, min(level)?)))?;
    let name = place(&level.cgroup)?;
    let sentence = format!(
        "{} of page cache could have been reclaimed, but memory.min protects {} in {name}",
        units::bytes(clean),
        min.map_or_else(|| "all".to_owned(), units::bytes)
    );
    let cache = "how much of that cache lies in the protected cgroup is not recorded".to_owned();
    let advice = format!("lower memory.min of {name}, or protect with memory.low: it gives way");
    Some(Finding::new(sentence).evidence([cache]).advice([advice]))
}

/// memory.min, where it protects anything; `Some(None)` for all.
#[expect(clippy::option_option, reason = "nothing and everything are two answers")]
fn min(level: &LimitLevel) -> Option<Option<u64>> {
    if level.min_no_limit {
        return Some(None);
    }
    level.min_bytes.filter(|min| *min > 0).map(Some)
}

/// Swap was there, and full.
pub(super) fn swap_full(facts: &Facts<'_>) -> Option<Finding> {
    if !facts.is_shortage() {
        return None;
    }
    let (place, used, size) = if let Some(memcg) = &facts.report.oom_memcg {
        (facts.domain.name.as_deref()?, memcg.swap_usage_bytes?, memcg.swap_max_bytes?)
    } else {
        let system = facts.report.system.as_ref()?;
        let (free, total) = (system.swap_free_bytes?, system.swap_total_bytes?);
        ("the host", total.checked_sub(free)?, total)
    };
    // A hundredth is left over between what is counted and what is had.
    if size == 0 || used < size - size / 100 {
        return None;
    }
    let (used, size) = (units::bytes(used), units::bytes(size));
    let sentence = format!("the swap of {place} was full: {used} of {size}");
    let knob = if facts.domain.is_memcg { "raise memory.swap.max" } else { "add swap" };
    let advice = format!("{knob}, if what was swapped out was not needed soon");
    Some(Finding::new(sentence).advice([advice]))
}
