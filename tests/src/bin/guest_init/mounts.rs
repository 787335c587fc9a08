//! Mounts the file systems of the guest.

use std::ffi::CString;
use std::fs;

use anyhow::{Context as _, Result};
use oomwhy_tests::scenario::Hierarchy;
use rustix::mount::{MountFlags, UnmountFlags};

/// Mounts the file systems that every plan needs.
pub(crate) fn base() -> Result<()> {
    mount("proc", "/proc", "")?;
    mount("sysfs", "/sys", "")?;
    mount("devtmpfs", "/dev", "")?;
    mount("tmpfs", "/tmp", "")?;
    mount("debugfs", "/sys/kernel/debug", "")?;
    mount("tracefs", "/sys/kernel/tracing", "")?;
    mount("bpf", "/sys/fs/bpf", "")
}

/// Mounts the cgroup hierarchy where a distribution mounts it.
pub(crate) fn cgroup(hierarchy: Hierarchy) -> Result<()> {
    match hierarchy {
        Hierarchy::V2 => mount("cgroup2", hierarchy.mount_point(), ""),
        Hierarchy::V1 => {
            mount("tmpfs", "/sys/fs/cgroup", "")?;
            mount("cgroup2", "/sys/fs/cgroup/unified", "")?;
            mount("cgroup", hierarchy.mount_point(), "memory")
        }
    }
}

/// Mounts a file system.
pub(crate) fn mount(kind: &str, target: &str, data: &str) -> Result<()> {
    // Directories of sysfs and procfs exist already and cannot be made.
    let _ = fs::create_dir_all(target);
    let data = (!data.is_empty()).then(|| CString::new(data)).transpose()?;
    rustix::mount::mount("none", target, kind, MountFlags::empty(), data.as_deref())
        .with_context(|| format!("{kind} cannot be mounted on {target}"))
}

/// Unmounts a file system.
pub(crate) fn unmount(target: &str) -> Result<()> {
    rustix::mount::unmount(target, UnmountFlags::DETACH)
        .with_context(|| format!("{target} cannot be unmounted"))
}
