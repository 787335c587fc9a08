//! A process' root directory, which may be in another mount namespace. While it is held open, its
//! files can be opened, even when the process is gone.

use super::Process;
use crate::host::{
    opener::{Directory, OpenedFile, Target, Tree},
    procfs::process,
};

/// Larger executables are not read.
const MAX_ELF_BYTES: u64 = 2 << 30;

/// A root directory that is held open. This keeps its file system mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessRoot(Directory);

impl ProcessRoot {
    /// The root of a running process, which loses it after its memory.
    pub(crate) fn of(process: Process) -> Option<Self> {
        let root = Self::now(process.pid)?;
        // Checked last: the id may be reused at any moment.
        process::is_same(process.pid, process.started_ns).then_some(root)
    }

    /// The root of the process that has this id now.
    pub(super) fn now(pid: u32) -> Option<Self> {
        Directory::root_of(pid).ok().map(Self)
    }

    /// The number of the device that it is on. Another container has another one: each has a mount
    /// of its own.
    pub(super) fn device(&self) -> Option<u64> {
        self.0.device()
    }

    /// The root of this process.
    pub(super) fn of_host() -> Option<Self> {
        Directory::at("/".as_ref()).map(Self)
    }

    #[cfg(test)]
    pub(super) fn at(directory: &std::path::Path) -> Option<Self> {
        Directory::at(directory).map(Self)
    }

    /// Opens files that a process with this user id has mapped, by their paths. The kernel reports
    /// paths without links. A file that is refused is left out.
    pub(super) fn open_mapped<'a>(
        &self,
        uid: Option<u32>,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Vec<(String, OpenedFile)> {
        let paths: Vec<&str> = paths.into_iter().collect();
        let target = |path: &&str| Target::new(Tree::Mapped(uid), *path, MAX_ELF_BYTES);
        let targets = paths.iter().map(target);
        let opened = self.0.open_all(targets);
        let named = paths.iter().zip(opened);
        named.filter_map(|(path, file)| Some(((*path).to_owned(), file.ok()?))).collect()
    }

    /// Opens an executable of the host, which must belong to root or to this user.
    pub(super) fn open_executable(&self, path: &str, uid: Option<u32>) -> Option<OpenedFile> {
        self.0.open(Target::new(Tree::Host(uid), path, MAX_ELF_BYTES)).ok()
    }

    /// Opens a file that a process with this user id has written. Of a large one, the reader uses
    /// only a part.
    pub(super) fn open_written(&self, path: &str, uid: u32) -> Option<OpenedFile> {
        self.0.open(Target::new(Tree::Written(uid), path, u64::MAX)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn myself() -> Process {
        Process::now(std::process::id())
    }

    #[test]
    fn root_of_a_reused_process_id_is_none() {
        let Process { pid, started_ns } = myself();
        assert!(ProcessRoot::of(Process { pid, started_ns }).is_some());
        assert!(ProcessRoot::of(Process { pid, started_ns: started_ns / 2 }).is_none());
    }

    #[test]
    fn mapped_file_is_opened_below_the_root_and_a_device_is_not() {
        let exe = std::env::current_exe().unwrap();
        let exe = exe.to_str().unwrap();
        let uid = Some(rustix::process::geteuid().as_raw());
        let root = ProcessRoot::of(myself()).unwrap();
        let opened = root.open_mapped(uid, [exe, "/dev/null", "/tmp"]);
        assert_eq!(opened.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [exe]);
    }
}
