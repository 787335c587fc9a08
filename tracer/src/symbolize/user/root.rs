//! A process' root directory, which may be in another mount namespace. While it is held open, its
//! files can be opened, even when the process is gone.

use std::{
    fs::File,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2};

use super::Process;
use crate::host::procfs::process;

/// A root directory that is held open. This keeps its file system mounted.
#[derive(Clone, Debug)]
pub(crate) struct ProcessRoot(Arc<OwnedFd>);

impl ProcessRoot {
    /// The root of a running process, which loses it after its memory. Two system calls.
    pub(crate) fn of(process: Process) -> Option<Self> {
        let root = Self::now(process.pid)?;
        // Checked last: the id may be reused at any moment.
        process::is_same(process.pid, process.started_ns).then_some(root)
    }

    /// The root of the process that has this id now.
    pub(super) fn now(pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
        Some(Self(Arc::new(root)))
    }

    /// The number of the device that it is on. Another container has another one: each has a mount
    /// of its own.
    pub(super) fn device(&self) -> Option<u64> {
        Some(fstat(&*self.0).ok()?.st_dev)
    }

    /// Opens a regular file below it. Symlinks are followed below it too. A pipe or a device is not
    /// opened, because that can block.
    pub(super) fn open(&self, path: &str) -> Option<File> {
        let find = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(&*self.0, path, find, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let found = File::from(found);
        let is_file = found.metadata().ok()?.is_file();
        is_file.then(|| File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok())?
    }
}

#[cfg(test)]
impl ProcessRoot {
    /// A root directory for tests.
    pub(super) fn below(directory: &std::path::Path) -> Self {
        Self(Arc::new(open(directory, OFlags::PATH, Mode::empty()).unwrap()))
    }
}

/// The same handle, not merely the same directory.
impl PartialEq for ProcessRoot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ProcessRoot {}

#[cfg(test)]
mod tests {
    use super::*;

    fn myself() -> Process {
        Process::now(std::process::id())
    }

    #[test]
    fn open_below_a_root_follows_links_without_leaving_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/here"), "1").unwrap();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
        };
        link("/etc/here", "inside");
        link("/etc/passwd", "outside");
        link("/dev/null", "device");
        let root = open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
        let root = ProcessRoot(Arc::new(root));
        for (path, is_found) in [
            ("/etc/here", true),
            ("/inside", true),
            ("/../../etc/here", true),
            ("/outside", false),
            ("/device", false),
            ("/etc", false),
        ] {
            assert_eq!(root.open(path).is_some(), is_found, "{path}");
        }
        let root = ProcessRoot::of(myself()).unwrap();
        assert!(root.open("/etc/passwd").is_some() && root.open("/dev/null").is_none());
    }

    #[test]
    fn root_of_a_reused_process_id_is_none() {
        let Process { pid, started_ns } = myself();
        assert!(ProcessRoot::of(Process { pid, started_ns }).is_some());
        assert!(ProcessRoot::of(Process { pid, started_ns: started_ns / 2 }).is_none());
    }
}
