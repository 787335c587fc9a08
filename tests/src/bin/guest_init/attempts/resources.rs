//! What oomwhy uses: memory, descriptors, helper processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Resident memory of the tracer, KiB.
const MAX_TRACER_KIB: u64 = 32 << 10;
/// Resident memory of all its helpers, KiB.
const MAX_HELPERS_KIB: u64 = 256 << 10;
/// The one that opens files, four that hang, and one that works.
const MAX_HELPERS: usize = 6;
const MAX_DESCRIPTORS: usize = 512;
/// Shared memory that an attempt may add: its cgroup has a limit, and its root has files, KiB.
const MAX_NEW_SHARED_KIB: u64 = 96 << 10;

/// Memory of tmpfs, KiB. Files on a tmpfs stay in memory, whoever touched their pages.
pub(super) fn shared_kib() -> Option<u64> {
    field(Path::new("/proc/meminfo"), "Shmem")
}

/// What exceeds its bound. `shared_before` is the shared memory before the attempt.
pub(super) fn problems(tracer: u32, shared_before: Option<u64>) -> Vec<String> {
    let new_shared = shared_kib().zip(shared_before).map(|(now, then)| now.saturating_sub(then));
    let helpers = children(tracer);
    let helpers_kib = helpers.iter().filter_map(|pid| resident_kib(*pid)).sum::<u64>();
    let descriptors = fs::read_dir(format!("/proc/{tracer}/fd")).map_or(0, Iterator::count);
    let sizes = [
        ("KiB of the tracer", resident_kib(tracer), MAX_TRACER_KIB),
        ("KiB of its helpers", Some(helpers_kib), MAX_HELPERS_KIB),
        ("helpers", Some(helpers.len() as u64), MAX_HELPERS as u64),
        ("open descriptors", Some(descriptors as u64), MAX_DESCRIPTORS as u64),
        ("KiB of new shared memory", new_shared, MAX_NEW_SHARED_KIB),
    ];
    let is_wrong = |(what, size, max): (&str, Option<u64>, u64)| match size {
        Some(size) if size <= max => None,
        Some(size) => Some(format!("{size} {what}, more than {max}")),
        None => Some(format!("no number of {what}")),
    };
    sizes.into_iter().filter_map(is_wrong).collect()
}

fn resident_kib(pid: u32) -> Option<u64> {
    field(Path::new(&format!("/proc/{pid}/status")), "VmRSS")
}

/// The number of KiB in a line `NAME:   123 kB`.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The processes that this one started, and those that these started. A process that has ended and
/// is not reaped has no memory, but counts.
fn children(of: u32) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat);
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parents.insert(pid, parent.and_then(|parent| parent.parse().ok()).unwrap_or(0_u32));
    }
    let is_below = |pid: &u32| {
        let mut ancestor = parents.get(pid);
        while let Some(parent) = ancestor {
            if *parent == of {
                return true;
            }
            ancestor = parents.get(parent);
        }
        false
    };
    parents.keys().copied().filter(is_below).collect()
}
