//! The directory of `--pin`, held open and locked. It must be ours: others could put probes into
//! it that we take over, or move ours away, so that they stay attached and nobody reads them.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FlockOperation, Mode, OFlags, Stat, flock, fstat, fstatfs, mkdirat, openat,
        unlinkat,
    },
    io::Errno,
};

use super::PinError;
use crate::fmt::sanitize::shown;

/// `statfs` of a BPF file system: include/uapi/linux/magic.h `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Nobody else may open the directory: its lock is on the directory itself, because a BPF file
/// system has no regular files, and who can open it can lock it.
const OTHERS_MAY_OPEN: u32 = 0o077;
const OTHERS_MAY_WRITE: u32 = 0o022;
/// In a directory with this bit, only the owner of an entry can move or remove it.
const STICKY: u32 = 0o1000;

/// Everything in it is reached through its descriptor, so that it stays the same directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    /// As the user gave it.
    path: PathBuf,
}

impl Directory {
    /// Opens a directory of a BPF file system. Makes it and its parents if they do not exist.
    pub(super) fn create(path: &Path) -> Result<Self, PinError> {
        let nearest = path.ancestors().find(|path| path.exists());
        let nearest = nearest.filter(|nearest| *nearest != path);
        if nearest.is_none() && path.exists() {
            return Self::open(path);
        }
        let nearest = nearest.unwrap_or(Path::new("."));
        let mut fd = open_directory(CWD, nearest, OFlags::empty())
            .map_err(|errno| PinError::io("open", nearest, errno.into()))?;
        check_bpffs(&fd, path)?;
        let made = path.strip_prefix(nearest).unwrap_or(path).components();
        for name in made.filter(|it| matches!(it, Component::Normal(_))) {
            fd = make(&fd, name.as_os_str().as_ref())
                .map_err(|errno| PinError::io("make", path, errno.into()))?;
        }
        Self::check(fd, path)
    }

    /// Opens a directory of a BPF file system that must exist.
    pub(super) fn open(path: &Path) -> Result<Self, PinError> {
        let fd = open_last(path).map_err(|errno| PinError::io("open", path, errno.into()))?;
        check_bpffs(&fd, path)?;
        Self::check(fd, path)
    }

    /// Opens a directory of any file system.
    #[cfg(test)]
    pub(super) fn open_anywhere(path: &Path) -> Result<Self, PinError> {
        Self::check(open_last(path).unwrap(), path)
    }

    /// Checks whether it is ours, and locks it.
    fn check(fd: OwnedFd, path: &Path) -> Result<Self, PinError> {
        let failed = |errno: Errno| PinError::io("check", path, errno.into());
        let euid = rustix::process::geteuid().as_raw();
        let stat = fstat(&fd).map_err(failed)?;
        if let Some(why) = not_ours(&stat, euid, path) {
            return Err(PinError::NotOurs { path: path.to_owned(), why });
        }
        if let Some(why) = unsafe_parent(&fd, stat, euid).map_err(failed)? {
            return Err(PinError::NotOurs { path: path.to_owned(), why });
        }
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { fd, path: path.to_owned() }),
            Err(Errno::WOULDBLOCK) => Err(PinError::InUse { path: path.to_owned() }),
            Err(errno) => Err(PinError::io("lock", path, errno.into())),
        }
    }

    /// As the user gave it, for messages.
    pub(super) fn shown(&self) -> &Path {
        &self.path
    }

    /// The path by which this process reaches an entry, whatever others do to the path that the
    /// user gave. aya and bpf(2) before 6.4 take no descriptors.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(name)
    }

    pub(super) fn names(&self) -> Result<Vec<String>, PinError> {
        names(&self.at(".")).map_err(|error| PinError::io("list", &self.path, error))
    }

    /// Removes the directory, if it is empty.
    pub(super) fn remove(&self) {
        // It may hold other files, or be the root of the file system.
        if let (Ok(parent), Some(name)) = (parent(&self.fd), self.path.file_name()) {
            let _ = unlinkat(parent, name.as_bytes(), AtFlags::REMOVEDIR);
        }
    }
}

pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Opens a directory, whose last name must not be a symlink.
fn open_last(path: &Path) -> rustix::io::Result<OwnedFd> {
    let Some(name) = path.file_name() else {
        return open_directory(CWD, path, OFlags::empty());
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = open_directory(CWD, parent.unwrap_or(Path::new(".")), OFlags::PATH)?;
    open_directory(parent, name.as_ref(), OFlags::NOFOLLOW)
}

/// Only the owner may open it, because maps can hold command lines.
fn make(parent: &OwnedFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::RWXU) {
        // Another tracer may have made it. It is checked later.
        Ok(()) | Err(Errno::EXIST) => open_directory(parent, name, OFlags::NOFOLLOW),
        Err(errno) => Err(errno),
    }
}

fn parent(directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    open_directory(directory, Path::new(".."), OFlags::PATH)
}

fn open_directory(at: impl AsFd, name: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let all = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, name, all, Mode::empty())
}

fn check_bpffs(fd: &OwnedFd, path: &Path) -> Result<(), PinError> {
    let stat = fstatfs(fd).map_err(|errno| PinError::io("check", path, errno.into()))?;
    // The type of the field differs between architectures.
    let is_bpffs = u64::try_from(stat.f_type).is_ok_and(|kind| kind & 0xffff_ffff == BPF_FS_MAGIC);
    if is_bpffs { Ok(()) } else { Err(PinError::NotBpffs { path: path.to_owned() }) }
}

/// Why a directory is not ours alone, with the fix.
fn not_ours(stat: &Stat, euid: u32, path: &Path) -> Option<String> {
    let path = shown(path);
    if !is_trusted(stat, euid) {
        return Some(format!(
            "it belongs to user {}\nhint: give another directory, or remove this one",
            stat.st_uid
        ));
    }
    match stat.st_mode {
        mode if mode & STICKY != 0 => Some(format!(
            "other users share it\nhint: give a directory in it, as `--pin {path}/oomwhy`"
        )),
        mode if mode & OTHERS_MAY_OPEN != 0 => {
            Some(format!("other users may open it\nhint: `chmod 0700 {path}`"))
        }
        _ => None,
    }
}

/// Why others can move the directory away, if they can, with the fix. Looks at its parents in the
/// same file system: a mount point cannot be moved.
fn unsafe_parent(fd: &OwnedFd, stat: Stat, euid: u32) -> rustix::io::Result<Option<String>> {
    let mut below = (fd.try_clone().map_err(|_| Errno::MFILE)?, stat);
    loop {
        let above = parent(&below.0)?;
        let stat = fstat(&above)?;
        let is_root = (stat.st_dev, stat.st_ino) == (below.1.st_dev, below.1.st_ino);
        if is_root || stat.st_dev != below.1.st_dev {
            return Ok(None);
        }
        let is_shared = stat.st_mode & OTHERS_MAY_WRITE != 0 && stat.st_mode & STICKY == 0;
        if is_shared || !is_trusted(&stat, euid) {
            let why = "other users can move it, because they may change a directory above it\n\
                       hint: give a directory below directories that only root may change";
            return Ok(Some(why.to_owned()));
        }
        below = (above, stat);
    }
}

fn is_trusted(stat: &Stat, euid: u32) -> bool {
    stat.st_uid == 0 || stat.st_uid == euid
}

#[cfg(test)]
mod tests;
