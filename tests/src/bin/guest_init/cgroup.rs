//! Makes and removes the cgroups of a scenario.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::facts;
use oomwhy_tests::scenario::{Hierarchy, bytes};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The directory of a cgroup.
pub(crate) fn directory(hierarchy: Hierarchy, path: &str) -> PathBuf {
    let path = bytes(path.trim_start_matches('/'));
    Path::new(hierarchy.mount_point()).join(OsStr::from_bytes(&path))
}

/// Makes a cgroup and its parents, with the memory controller, and sets its limits.
pub(crate) fn make(
    hierarchy: Hierarchy,
    path: &str,
    limits: &[(&str, &str)],
) -> Result<facts::Cgroup> {
    let mut parent = PathBuf::from(hierarchy.mount_point());
    let needs_cpuset = limits.iter().any(|(name, _)| name.starts_with("cpuset."));
    let controllers = if needs_cpuset { "+memory +cpuset" } else { "+memory" };
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if hierarchy == Hierarchy::V2 {
            write(&parent.join("cgroup.subtree_control"), controllers)?;
        }
        parent.push(OsStr::from_bytes(&bytes(name)));
        fs::create_dir_all(&parent)
            .with_context(|| format!("{} cannot be made", parent.display()))?;
    }
    let mut cgroup = facts::Cgroup {
        path: path.to_owned(),
        inode: fs::metadata(&parent)?.ino(),
        ..facts::Cgroup::default()
    };
    for (name, value) in limits {
        let file = parent.join(name);
        write(&file, value)?;
        let kept = fs::read_to_string(&file)?.trim().to_owned();
        cgroup.limits.insert((*name).to_owned(), kept);
    }
    Ok(cgroup)
}

/// The kernel's counters of events at a cgroup's limit.
pub(crate) fn events(hierarchy: Hierarchy, path: &str) -> BTreeMap<String, u64> {
    let name = match hierarchy {
        Hierarchy::V2 => "memory.events",
        Hierarchy::V1 => "memory.oom_control",
    };
    let text = fs::read_to_string(directory(hierarchy, path).join(name)).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// Kills the processes in a cgroup and removes it.
pub(crate) fn clear(hierarchy: Hierarchy, path: &str) -> Result<()> {
    let members = fs::read_to_string(directory(hierarchy, path).join("cgroup.procs"))?;
    for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        if pid.is_init() {
            write(&Path::new(hierarchy.mount_point()).join("cgroup.procs"), "1")?;
        } else {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    remove(hierarchy, path)
}

/// Removes a cgroup. It waits, because a victim that was just reaped may still be in the cgroup,
/// and ten thousand processes take a while to exit.
pub(crate) fn remove(hierarchy: Hierarchy, path: &str) -> Result<()> {
    let directory = directory(hierarchy, path);
    let removed = wait::until(Duration::from_mins(1), || fs::remove_dir(&directory).is_ok());
    ensure!(removed, "{} cannot be removed", directory.display());
    Ok(())
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value)
        .with_context(|| format!("{value:?} cannot be written to {}", path.display()))
}
