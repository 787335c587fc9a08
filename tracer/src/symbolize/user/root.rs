//! A process's root directory: what it calls `/`, in a mount namespace of its own perhaps. Once opened
//! it is there, and its files with it, when the process is gone.

use std::{
    fs::File,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use super::Process;
use crate::host::procfs::process;

/// One of them. Whoever keeps it keeps its file system from being given back.
#[derive(Clone, Debug)]
pub(crate) struct Root(Arc<OwnedFd>);

impl Root {
    /// That of a process which is there; it loses it after its memory. Two system calls.
    pub(crate) fn of(process: Process) -> Option<Self> {
        let root = Self::now(process.pid)?;
        // Asked last: the id may be used again at any moment.
        process::is_same(process.pid, process.started_ns).then_some(root)
    }

    /// That of who has this id now.
    pub(super) fn now(pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
        Some(Self(Arc::new(root)))
    }

    /// Opens a regular file below it, where its links lead too. Never a pipe or a device: opening those
    /// can block.
    pub(super) fn open(&self, path: &str) -> Option<File> {
        let find = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(&*self.0, path, find, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let found = File::from(found);
        let is_file = found.metadata().ok()?.is_file();
        is_file.then(|| File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok())?
    }
}

/// The same directory, not an equal one.
impl PartialEq for Root {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Root {}

#[cfg(test)]
mod tests {
    use super::*;

    fn myself() -> Process {
        Process::now(std::process::id())
    }

    #[test]
    fn files_are_found_below_a_root_and_links_do_not_lead_out_of_it() {
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
        let root = Root(Arc::new(root));
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
        let root = Root::of(myself()).unwrap();
        assert!(root.open("/etc/passwd").is_some() && root.open("/dev/null").is_none());
    }

    #[test]
    fn a_process_that_is_another_by_now_has_no_root() {
        let Process { pid, started_ns } = myself();
        assert!(Root::of(Process { pid, started_ns }).is_some());
        assert!(Root::of(Process { pid, started_ns: started_ns / 2 }).is_none());
    }
}
