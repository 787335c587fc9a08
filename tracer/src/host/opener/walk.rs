//! Resolves a path, checks what it leads to, and opens it. All of it may block, so the tracer runs
//! it in the helper process.

use std::{
    fs::{File, Metadata},
    io::{Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use rustix::{
    fs::{Dir, MemfdFlags, Mode, OFlags, ResolveFlags, memfd_create, open, openat, openat2},
    io::Errno,
    process::geteuid,
};

use super::{FileFacts, FileId, OpenedFile, Operation, Refusal, Target, Tree, file_system};

/// Write permission for everybody.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
/// Permission to execute for a group or for everybody.
const EXECUTE: u32 = 0o011;

pub(super) fn run(base: BorrowedFd<'_>, operation: &Operation) -> Result<OpenedFile, Refusal> {
    match operation {
        Operation::Open(target) => open_file(base, target),
        Operation::List { directory, max_names } => list(base, directory, *max_names),
        Operation::Copy { path, max_bytes } => copy(base, path, *max_bytes),
        Operation::Root { pid } => root(base, *pid),
    }
}

impl Tree {
    fn flags(self) -> ResolveFlags {
        let without_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match self {
            Self::Root => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Self::User(_) => ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | without_links,
            Self::Mapped(_) | Self::Written(_) | Self::Host(_) => {
                ResolveFlags::IN_ROOT | without_links
            }
        }
    }

    fn may_own(self, uid: u32) -> bool {
        let is_trusted = uid == 0 || uid == geteuid().as_raw();
        match self {
            Self::Root => is_trusted,
            Self::User(user) => uid == user || uid == 0,
            Self::Written(user) => uid == user,
            Self::Host(user) => is_trusted || user == Some(uid),
            Self::Mapped(_) => true,
        }
    }

    /// Whether the process can have mapped a file of this owner and mode as code. Its groups are
    /// not known: of files that only a group may use, those that are programs are accepted.
    const fn may_have_mode(self, uid: u32, mode: u32) -> bool {
        match self {
            Self::Mapped(Some(0)) | Self::Root | Self::User(_) | Self::Written(_) => true,
            Self::Mapped(Some(user)) | Self::Host(Some(user)) if user == uid => true,
            Self::Mapped(_) => mode & (OTHERS_READ | EXECUTE) != 0,
            Self::Host(_) => mode & EXECUTE != 0,
        }
    }

    /// A second name could be a hard link to a file of somebody else.
    const fn needs_one_name(self) -> bool {
        matches!(self, Self::User(_) | Self::Written(_))
    }
}

fn open_file(base: BorrowedFd<'_>, target: &Target) -> Result<OpenedFile, Refusal> {
    let Target { tree, directory, path, max_bytes } = target;
    let directory = directory.as_deref().map(|path| open_directory(base, path, *tree));
    let directory = directory.transpose()?;
    let from = directory.as_ref().map_or(base, AsFd::as_fd);
    let found = File::from(resolve(from, path, OFlags::empty(), tree.flags())?);
    file_system::check(&found)?;
    let meta = metadata(&found)?;
    if !meta.is_file() {
        return Err(Refusal::NotRegular);
    }
    if !tree.may_own(meta.uid()) {
        return Err(Refusal::Owner(meta.uid()));
    }
    if !tree.may_have_mode(meta.uid(), meta.mode()) {
        return Err(Refusal::Mode(meta.mode() & 0o7777));
    }
    if tree.needs_one_name() && meta.nlink() != 1 {
        return Err(Refusal::Names(meta.nlink()));
    }
    if meta.len() > *max_bytes {
        return Err(Refusal::Size(meta.len()));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = File::from(open(link, flags, Mode::empty())?);
    Ok(OpenedFile { file, facts: facts(&meta) })
}

/// A directory whose owner is that of the tree. Only the trees of root and of users have one.
fn open_directory(base: BorrowedFd<'_>, path: &str, tree: Tree) -> Result<OwnedFd, Refusal> {
    let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = File::from(resolve(base, path, OFlags::DIRECTORY, flags)?);
    file_system::check(&found)?;
    let meta = metadata(&found)?;
    if !tree.may_own(meta.uid()) {
        return Err(Refusal::Owner(meta.uid()));
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        return Err(Refusal::SharedDirectory);
    }
    Ok(found.into())
}

/// `O_PATH`: nothing happens to the file, whatever it is.
fn resolve(
    base: BorrowedFd<'_>,
    path: &str,
    more: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | more;
    openat2(base, path, flags, Mode::empty(), resolve).map_err(refusal)
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::NOSYS => Refusal::NoOpenat2,
        errno => errno.into(),
    }
}

fn metadata(file: &File) -> Result<Metadata, Refusal> {
    file.metadata().map_err(|error| Refusal::Unresolved(error.raw_os_error().unwrap_or_default()))
}

fn facts(meta: &Metadata) -> FileFacts {
    let changed_ns = ns(meta.ctime(), meta.ctime_nsec());
    let id = FileId { device: meta.dev(), inode: meta.ino(), changed_ns };
    FileFacts { id, modified_ns: ns(meta.mtime(), meta.mtime_nsec()), owner: meta.uid() }
}

/// The owner of a file chooses its time, so it may be out of range.
const fn ns(seconds: i64, ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

fn list(base: BorrowedFd<'_>, path: &str, max_names: usize) -> Result<OpenedFile, Refusal> {
    let directory = open_directory(base, path, Tree::Root)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = Dir::new(openat(directory, ".", flags, Mode::empty())?)?.flatten();
    let mut names = Vec::new();
    let named = entries.filter(|entry| ![c".", c".."].contains(&entry.file_name()));
    for entry in named.take(max_names) {
        names.extend(entry.file_name().to_bytes_with_nul());
    }
    in_memory(&names)
}

fn copy(base: BorrowedFd<'_>, path: &str, max_bytes: u64) -> Result<OpenedFile, Refusal> {
    let path = path.trim_start_matches('/');
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(base, path, flags, Mode::empty())?);
    let mut content = Vec::new();
    let read = file.take(max_bytes).read_to_end(&mut content);
    read.map_err(|error| Refusal::Unresolved(error.raw_os_error().unwrap_or_default()))?;
    in_memory(&content)
}

fn root(proc: BorrowedFd<'_>, pid: u32) -> Result<OpenedFile, Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = File::from(openat(proc, format!("{pid}/root"), flags, Mode::empty())?);
    let facts = facts(&metadata(&file)?);
    Ok(OpenedFile { file, facts })
}

/// A file that is not in any directory.
fn in_memory(content: &[u8]) -> Result<OpenedFile, Refusal> {
    let mut file = File::from(memfd_create("oomwhy", MemfdFlags::CLOEXEC)?);
    let written = file.write_all(content).and_then(|()| file.rewind());
    written.map_err(|_| Refusal::NoHelper)?;
    let meta = metadata(&file)?;
    Ok(OpenedFile { file, facts: facts(&meta) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernel_is_a_reason_of_its_own() {
        assert_eq!(refusal(Errno::NOSYS), Refusal::NoOpenat2);
        assert_eq!(refusal(Errno::LOOP), Refusal::Unresolved(Errno::LOOP.raw_os_error()));
    }
}
