//! Puts this process where an attempt is made: into a container with a root of its own, or into
//! the session of a user.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_move, mount_remount,
};
use rustix::process::chroot;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
};

use crate::mounts;

/// The directory on which the root of the container is mounted.
pub(crate) const ROOT: &str = "/jail";
/// The programs that the container shares with the host.
pub(crate) const SHARED: &[&str] = &["/bin", "/hostile", "/init", "/lib", "/lib64", "/usr"];

/// Docker's default, and the capability to mount file systems, which containers with FUSE have.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_ADMIN);

/// Joins the cgroup at this path. The script itself may not be killed: it goes on after the kill of
/// a child. Each child decides for itself.
pub(crate) fn join(cgroup: &str) -> Result<()> {
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    fs::write(format!("/sys/fs/cgroup{cgroup}/cgroup.procs"), "0")
        .with_context(|| format!("{cgroup} cannot be joined"))
}

/// Makes the mounted root the root of this process. The parent makes the pid namespace.
pub(crate) fn enter() -> Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    for path in SHARED {
        share(path)?;
    }
    mounts::mount("proc", &format!("{ROOT}/proc"), "")?;
    mounts::mount("cgroup2", &format!("{ROOT}/sys/fs/cgroup"), "")?;
    // The root of an initramfs cannot be replaced by pivot_root(2).
    std::env::set_current_dir(ROOT)?;
    mount_move(ROOT, "/").context("the root cannot be moved")?;
    chroot(".")?;
    std::env::set_current_dir("/")?;
    give_up_capabilities()
}

fn share(path: &str) -> Result<()> {
    let target = format!("{ROOT}{path}");
    if !Path::new(path).exists() {
        return Ok(());
    }
    mount_bind(path, &target).with_context(|| format!("{path} cannot be shared"))?;
    mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, c"")?;
    Ok(())
}

fn give_up_capabilities() -> Result<()> {
    for capability in (CapabilitySet::all() - CAPABILITIES).iter() {
        // This kernel may not know the newest ones.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    let kept =
        CapabilitySets { effective: CAPABILITIES, permitted: CAPABILITIES, inheritable: none };
    Ok(set_capabilities(None, kept)?)
}
