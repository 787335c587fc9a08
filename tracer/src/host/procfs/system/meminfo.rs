//! One line of /proc/meminfo: "MemFree:        19478544 kB".

use crate::model::report::System;

/// Stores the value of a line if it is wanted.
pub(super) fn line(system: &mut System, line: &str) {
    let Some((key, value)) = line.split_once(':') else {
        return;
    };
    let bytes = bytes(value);
    let slot = match key {
        "MemTotal" => &mut system.total_bytes,
        "MemFree" => &mut system.free_bytes,
        "MemAvailable" => &mut system.available_bytes,
        "AnonPages" => &mut system.anon_bytes,
        // The sum of both lists, or nothing.
        "Active(file)" => &mut system.file_bytes,
        "Inactive(file)" => {
            system.file_bytes = system.file_bytes.zip(bytes).map(|(a, b)| a.saturating_add(b));
            return;
        }
        "Shmem" => &mut system.shmem_bytes,
        "Unevictable" => &mut system.unevictable_bytes,
        "SReclaimable" => &mut system.slab_reclaimable_bytes,
        "SUnreclaim" => &mut system.slab_unreclaimable_bytes,
        "KernelStack" => &mut system.kernel_stack_bytes,
        "PageTables" => &mut system.page_tables_bytes,
        "Percpu" => &mut system.percpu_bytes,
        "Hugetlb" => &mut system.hugetlb_bytes,
        "SwapTotal" => &mut system.swap_total_bytes,
        "SwapFree" => &mut system.swap_free_bytes,
        "CommitLimit" => &mut system.commit_limit_bytes,
        "Committed_AS" => &mut system.committed_bytes,
        _ => return,
    };
    *slot = bytes;
}

/// The kernel writes "kB" for KiB.
fn bytes(value: &str) -> Option<u64> {
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}
