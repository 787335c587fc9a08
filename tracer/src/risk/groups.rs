//! Reads the cgroups that have a limit from cgroupfs: v2, and the memory controller of v1.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::processes::Swap;
use crate::{
    compose::limits::NO_LIMIT_BYTES,
    host::files::{CgroupMounts, Root},
};

/// The cgroups of this host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LimitedCgroups {
    /// Cgroups with a limit, parents before their children.
    pub limited: Vec<LimitedCgroup>,
    /// Paths of the cgroups with memory.oom.group, with or without a limit.
    pub oom_groups: Vec<String>,
}

/// A cgroup that has a limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LimitedCgroup {
    /// Path from the root of its hierarchy.
    pub path: String,
    pub directory: PathBuf,
    /// The kernel's id of the cgroup: the inode of its directory.
    pub id: u64,
    /// From memory.current (v1: memory.usage_in_bytes).
    pub usage_bytes: u64,
    /// From memory.max (v1: memory.limit_in_bytes).
    pub limit_bytes: u64,
    /// Clean file cache and slab, which the kernel reclaims before it kills.
    pub reclaimable_bytes: Option<u64>,
    /// memory.swap.max and memory.swap.current; `None` without swap accounting.
    swap: Option<SwapLimit>,
    /// `None` without PSI (memory.pressure).
    pub pressure: Option<Pressure>,
    /// `oom_kill` of memory.events.
    pub oom_kills: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SwapLimit {
    usage_bytes: u64,
    /// `None` allows all swap of the host.
    limit_bytes: Option<u64>,
}

/// Shares of time in which tasks waited for memory, percent over ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Pressure {
    /// At least one task waited.
    pub some_avg10: f64,
    /// All tasks waited.
    pub full_avg10: f64,
}

impl LimitedCgroup {
    /// The memory that the limit must hold: usage minus reclaimable memory.
    pub(crate) fn need_bytes(&self) -> u64 {
        self.usage_bytes.saturating_sub(self.reclaimable_bytes.unwrap_or_default())
    }

    /// Swap that the cgroup may still use.
    pub(super) fn swap_headroom(&self, host: Swap) -> Option<u64> {
        let swap = self.swap?;
        let own = swap.limit_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(swap.usage_bytes));
        Some(own.min(host.free_bytes))
    }

    /// `mem_cgroup_get_max`: the limit plus the usable swap, pages.
    pub(super) fn totalpages(&self, host: Swap) -> u64 {
        let swap = self
            .swap
            .filter(|_| host.swappiness > 0)
            .map_or(0, |swap| swap.limit_bytes.unwrap_or(u64::MAX).min(host.total_bytes));
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        (self.limit_bytes / page_bytes + swap / page_bytes).max(1)
    }
}

pub(crate) fn read(root: &Root, mounts: &CgroupMounts) -> LimitedCgroups {
    let mut groups = LimitedCgroups::default();
    if let Some(mount) = &mounts.v2 {
        groups.walk(&root.path(&mount.to_string_lossy()), "/", group_v2);
    }
    if let Some(mount) = &mounts.v1_memory {
        groups.walk(&root.path(&mount.to_string_lossy()), "/", group_v1);
    }
    groups
}

impl LimitedCgroups {
    fn walk(&mut self, directory: &Path, path: &str, read: fn(&Path) -> Option<LimitedCgroup>) {
        if let Some(group) = read(directory) {
            // No cgroup has the id 0: it stands for one that has just been removed.
            let id = fs::metadata(directory).map_or(0, |directory| directory.ino());
            let (path, directory) = (path.to_owned(), directory.to_owned());
            self.limited.push(LimitedCgroup { path, directory, id, ..group });
        }
        if number(directory, "memory.oom.group") == Some(1) {
            self.oom_groups.push(path.to_owned());
        }
        // The cgroup may have been removed since.
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                let child = format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy());
                self.walk(&entry.path(), &child, read);
            }
        }
    }
}

fn group_v2(directory: &Path) -> Option<LimitedCgroup> {
    let limit_bytes = number(directory, "memory.max")?;
    let swap_limit = text(directory, "memory.swap.max");
    let swap = swap_limit.zip(number(directory, "memory.swap.current")).map(|(limit, usage)| {
        SwapLimit { usage_bytes: usage, limit_bytes: limit.trim().parse().ok() }
    });
    Some(LimitedCgroup {
        usage_bytes: number(directory, "memory.current")?,
        limit_bytes,
        reclaimable_bytes: reclaimable(
            directory,
            ["inactive_file", "active_file", "slab_reclaimable"],
            ["file_dirty", "file_writeback"],
        ),
        swap,
        pressure: pressure(directory),
        oom_kills: keyed(&text(directory, "memory.events")?, "oom_kill"),
        ..LimitedCgroup::default()
    })
}

fn group_v1(directory: &Path) -> Option<LimitedCgroup> {
    let limit_bytes =
        number(directory, "memory.limit_in_bytes").filter(|&limit| limit < NO_LIMIT_BYTES)?;
    // memsw counts memory and swap together, so the part above the memory limit is swap.
    let both = number(directory, "memory.memsw.limit_in_bytes");
    let swap = both.zip(number(directory, "memory.memsw.usage_in_bytes"));
    let usage_bytes = number(directory, "memory.usage_in_bytes")?;
    Some(LimitedCgroup {
        usage_bytes,
        limit_bytes,
        reclaimable_bytes: reclaimable(
            directory,
            ["total_inactive_file", "total_active_file", ""],
            ["total_dirty", "total_writeback"],
        ),
        swap: swap.map(|(limit, usage)| SwapLimit {
            usage_bytes: usage.saturating_sub(usage_bytes),
            limit_bytes: (limit < NO_LIMIT_BYTES).then(|| limit.saturating_sub(limit_bytes)),
        }),
        oom_kills: text(directory, "memory.oom_control").and_then(|text| keyed(&text, "oom_kill")),
        ..LimitedCgroup::default()
    })
}

/// The sum of some lines of memory.stat minus others. Lines that this kernel does not
/// print count as 0. Without the first one, the file cache, the sum is unknown.
fn reclaimable(directory: &Path, plus: [&str; 3], minus: [&str; 2]) -> Option<u64> {
    let stat = text(directory, "memory.stat")?;
    let sum = |keys: &[&str]| keys.iter().filter_map(|key| keyed(&stat, key)).sum::<u64>();
    keyed(&stat, plus.first()?)?;
    Some(sum(&plus).saturating_sub(sum(&minus)))
}

fn pressure(directory: &Path) -> Option<Pressure> {
    let text = text(directory, "memory.pressure")?;
    let average = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
    };
    Some(Pressure { some_avg10: average("some ")?, full_avg10: average("full ")? })
}

fn text(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

/// The number in a file; `None` for "max" and if the file is missing.
fn number(directory: &Path, file: &str) -> Option<u64> {
    text(directory, file)?.trim().parse().ok()
}

/// The number of a key in a file of `key number` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key && !key.is_empty()).then(|| value.trim().parse().ok())?
    })
}
