//! Opens the files that somebody else can name: in a container, in a user's home, in the
//! directories of container runtimes. Nothing else in the program opens such a path; a check in
//! `cargo xtask check` enforces this.
//!
//! oomwhy has privileges, so a hostile path could make it open any file or device. Therefore the
//! path is first resolved to an `O_PATH` descriptor, which does nothing to the file. Only a regular
//! file on a local file system, with the owner that the caller expects, is then opened for reading.
//!
//! To resolve a path can block for ever if a component is on a network or FUSE file system. So the
//! tracer leaves it to a helper process ([`process`]).

mod file_system;
mod process;
mod walk;

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, makedev, open, statx};
use serde::{Deserialize, Serialize};

use crate::model::lru::ByteSize;

pub(crate) use self::process::{serve, start, waited};

/// Who may have made the files and directories below a descriptor, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tree {
    /// Only root: links are followed if they stay below the directory.
    Root,
    /// This user: no links, no other mounts, no file with a second name.
    User(u32),
    /// A container or a user, about a file that a process with this user id has mapped. Its path
    /// has no links. A mount can put another file there, so the process must be able to use the
    /// file.
    Mapped(Option<u32>),
    /// A process with this user id, about a file that it wrote: no links, no second name.
    Written(u32),
    /// The host, about a file that a process with this user id had mapped. The process chose the
    /// path, so the file must be a program.
    Host(Option<u32>),
}

/// A regular file that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    tree: Tree,
    /// Opened first. Its owner must be that of the tree. Links on the way to it are followed, as
    /// long as they stay below the base.
    directory: Option<String>,
    /// Path below the directory, or below the base.
    path: String,
    /// Larger files are refused.
    max_bytes: u64,
}

impl Target {
    /// A file at `path` below the base.
    pub(crate) fn new(tree: Tree, path: impl Into<String>, max_bytes: u64) -> Self {
        Self { tree, directory: None, path: path.into(), max_bytes }
    }

    /// A file at `path` below a directory, which is below the base.
    pub(crate) fn below(tree: Tree, directory: &str, path: &str, max_bytes: u64) -> Self {
        let directory = directory.trim_start_matches('/').to_owned();
        Self { tree, directory: Some(directory), path: path.to_owned(), max_bytes }
    }
}

/// What to do below a base directory. The result is a file each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Operation {
    Open(Target),
    /// The first names in a directory that root owns, each with a zero byte at its end.
    List {
        directory: String,
        max_names: usize,
    },
    /// A copy of a file of /proc, at a path that oomwhy chose. Its content may be the memory of a
    /// process, and reading that can block.
    Copy {
        path: String,
        max_bytes: u64,
    },
    /// The root directory of a process, below /proc. It may be on a network file system, which is
    /// asked whether it still exists.
    Root {
        pid: u32,
    },
}

/// Why a file was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this kernel has no openat2(2), which came with Linux 5.6")]
    NoOpenat2,
    /// Absent, not permitted, a link or another mount on the way, or a loop of links.
    #[error("the path cannot be resolved: errno {0}")]
    Unresolved(i32),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it belongs to uid {0}")]
    Owner(u32),
    #[error("its mode is {0:o}")]
    Mode(u32),
    #[error("others may write to its directory")]
    SharedDirectory,
    #[error("it has {0} names")]
    Names(u64),
    #[error("it has {0} bytes")]
    Size(u64),
    #[error("its file system, of type {0:#x}, is not known to be local")]
    FileSystem(u64),
    #[error("the look-up took too long")]
    TimedOut,
    #[error("the helper process that opens files is not available")]
    NoHelper,
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Unresolved(errno.raw_os_error())
    }
}

/// Identifies a file and its content. A file that is replaced or changed has another one. A build
/// id is no such value: the author of a file chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileId {
    pub device: u64,
    pub inode: u64,
    /// Time of the last change, ns since 1970. Nobody can set it (`st_ctime`).
    pub changed_ns: i64,
}

impl ByteSize for FileId {
    fn byte_size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Facts about a file that was opened. To ask for them later could block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    pub id: FileId,
    /// Time of the last write, ns since 1970.
    pub modified_ns: i64,
    /// The id of the user who owns it.
    pub owner: u32,
}

/// A file that was checked and opened for reading.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    pub file: File,
    pub facts: FileFacts,
}

impl OpenedFile {
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        let number = |it: &Self| (it.facts.id.device, it.facts.id.inode);
        number(self) == number(other)
    }

    /// Another descriptor of the same file.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(Self { file: self.file.try_clone().ok()?, facts: self.facts })
    }
}

/// A directory that paths are resolved below. This keeps its file system mounted.
#[derive(Clone, Debug)]
pub(crate) struct Directory(Arc<OwnedFd>);

impl Directory {
    /// A directory at a path that nobody else chose, for example `/` or /proc/PID.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Some(Self(Arc::new(open(path, flags, Mode::empty()).ok()?)))
    }

    /// The root directory of the process that has this id now.
    pub(crate) fn root_of(pid: u32) -> Result<Self, Refusal> {
        let proc = Self::at("/proc".as_ref()).ok_or(Refusal::NoHelper)?;
        let root = proc.run_one(Operation::Root { pid })?;
        Ok(Self(Arc::new(root.file.into())))
    }

    /// The number of the device that it is on. This does not ask the file system, which may hang.
    pub(crate) fn device(&self) -> Option<u64> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&*self.0, c"", flags, StatxFlags::empty()).ok()?;
        Some(makedev(found.stx_dev_major, found.stx_dev_minor))
    }

    pub(crate) fn open(&self, target: Target) -> Result<OpenedFile, Refusal> {
        self.run_one(Operation::Open(target))
    }

    /// Opens each of the files. One that is refused does not change the others.
    pub(crate) fn open_all(
        &self,
        targets: impl IntoIterator<Item = Target>,
    ) -> Vec<Result<OpenedFile, Refusal>> {
        let operations: Vec<Operation> = targets.into_iter().map(Operation::Open).collect();
        process::run(self, &operations)
    }

    /// The content of a file. A file above its limit is refused, even if it grows meanwhile,
    /// because a part of it cannot be parsed.
    pub(crate) fn read(&self, target: Target) -> Result<Vec<u8>, Refusal> {
        let max_bytes = target.max_bytes;
        read_capped(self.open(target)?.file, max_bytes)
    }

    /// The first names in a directory that root owns.
    pub(crate) fn names(&self, directory: &str, max_names: usize) -> Vec<String> {
        let directory = directory.to_owned();
        let listed = self.run_one(Operation::List { directory, max_names });
        let content = listed.and_then(|it| read_capped(it.file, MAX_LISTED_BYTES));
        let names = content.unwrap_or_default();
        let texts =
            names.split(|byte| *byte == 0).filter_map(|it| String::from_utf8(it.into()).ok());
        texts.filter(|name| !name.is_empty()).collect()
    }

    /// The content of a file of /proc at a path that nobody else chose: at most its first bytes.
    pub(crate) fn copy(&self, path: String, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
        let copy = self.run_one(Operation::Copy { path, max_bytes })?;
        read_capped(copy.file, max_bytes)
    }

    fn run_one(&self, operation: Operation) -> Result<OpenedFile, Refusal> {
        process::run(self, &[operation]).pop().unwrap_or(Err(Refusal::NoHelper))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same handle, not merely the same directory.
impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Directory {}

/// More than the longest list of names that is asked for.
const MAX_LISTED_BYTES: u64 = 8 << 20;

fn read_capped(file: File, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    let read = file.take(max_bytes.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|error| Refusal::Unresolved(error.raw_os_error().unwrap_or_default()))?;
    let bytes = content.len() as u64;
    if bytes > max_bytes { Err(Refusal::Size(bytes)) } else { Ok(content) }
}

#[cfg(test)]
pub(crate) mod attacks;
#[cfg(test)]
mod tests;
