//! The directory of a history, held open. Every file is opened relative to it, by a name that this
//! program makes, and never through a symlink.

use std::{
    fs::{DirBuilder, File},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{HistoryError, free_space::Space, segment::Segment};
use crate::fmt::sanitize::shown;

/// The writer holds a lock on this file.
const LOCK: &str = "lock";
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A segment in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedSegment {
    pub segment: Segment,
    /// Whether it is a regular file. Nothing else is read, written or removed.
    pub is_file: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// Time of the last write, seconds since 1970.
    pub modified: i64,
}

/// Whether a file of this name belongs to a history.
pub(super) fn is_part(name: &str) -> bool {
    name == LOCK || Segment::parse(name).is_some()
}

impl Directory {
    /// Opens a directory for reading.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| HistoryError::open(path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a directory for writing. Creates it and its parents if they do not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, HistoryError> {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
        // If it exists, opening it gives a better error.
        if let Err(error) = made
            && !path.exists()
        {
            return Err(HistoryError::open(path, error));
        }
        let directory = Self::open(path)?;
        directory.check_owner()?;
        Ok(directory)
    }

    /// Another user who can put files there could make this process read or write their files.
    fn check_owner(&self) -> Result<(), HistoryError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.failed(".", errno))?;
        let owner = rustix::process::geteuid().as_raw();
        let shown = shown(&self.path);
        let why = if stat.st_uid != owner && stat.st_uid != 0 {
            format!("it belongs to another user\nhint: `chown {owner} {shown}`")
        } else if stat.st_mode & 0o002 != 0 {
            format!("everybody may write to it\nhint: `chmod o-w {shown}`")
        } else {
            return Ok(());
        };
        Err(HistoryError::Unsafe { path: self.path.clone(), why })
    }

    /// Takes the lock of the writer. It is held as long as the returned file is open.
    pub(crate) fn lock(&self) -> Result<File, HistoryError> {
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = self.open_at(LOCK, flags)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(Errno::WOULDBLOCK) => Err(HistoryError::Locked { path: self.path.clone() }),
            Err(errno) => Err(self.failed(LOCK, errno)),
        }
    }

    /// Creates a file for appending. Fails if it exists.
    pub(crate) fn begin(&self, name: &str) -> Result<File, HistoryError> {
        self.open_at(name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND)
    }

    /// Opens a regular file for reading. Reading from a FIFO might never end.
    pub(crate) fn read(&self, name: &str) -> Result<File, HistoryError> {
        let file = self.open_at(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let kind = file.metadata().map_err(|error| self.failed(name, error))?.file_type();
        if kind.is_file() {
            Ok(file)
        } else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            Err(self.failed(name, error))
        }
    }

    fn open_at(&self, name: &str, flags: OFlags) -> Result<File, HistoryError> {
        let safe_flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, safe_flags, FILE_MODE)
            .map_err(|errno| self.failed(name, errno))?;
        Ok(File::from(fd))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), HistoryError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.failed(to, errno))
    }

    /// Removes a file. Succeeds if it does not exist.
    pub(crate) fn remove(&self, name: &str) -> Result<(), HistoryError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed(name, errno)),
        }
    }

    /// Makes created, renamed and removed names durable.
    pub(crate) fn sync(&self) -> Result<(), HistoryError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| self.failed(".", errno))
    }

    /// The space of the file system.
    pub(super) fn space(&self) -> Result<Space, HistoryError> {
        let stat = rustix::fs::fstatvfs(&self.fd).map_err(|errno| self.failed(".", errno))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }

    /// Whether a history was ever written here.
    pub(super) fn has_history(&self) -> Result<bool, HistoryError> {
        Ok(self.names()?.iter().any(|name| is_part(name)))
    }

    /// The names of all files that are UTF-8: those of a history are.
    pub(crate) fn names(&self) -> Result<Vec<String>, HistoryError> {
        let failed = |errno| self.failed(".", errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// The segments, oldest first. A segment that is both plain and compressed (it is being closed)
    /// is listed once, compressed.
    pub(crate) fn segments(&self) -> Result<Vec<ListedSegment>, HistoryError> {
        let mut segments = Vec::new();
        for segment in self.names()?.iter().filter_map(|name| Segment::parse(name)) {
            let name = segment.file_name();
            match rustix::fs::statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // It was removed or renamed meanwhile.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.failed(&name, errno)),
                Ok(stat) => {
                    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
                    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                    segments.push(ListedSegment {
                        segment,
                        is_file,
                        bytes,
                        modified: stat.st_mtime,
                    });
                }
            }
        }
        // For the same stem, a plain segment sorts before the compressed one. The later one stays.
        segments.sort_by(|a, b| b.segment.cmp(&a.segment));
        segments.dedup_by(|later, kept| later.segment.stem == kept.segment.stem);
        segments.reverse();
        Ok(segments)
    }

    /// The error for a file system with too little free space.
    pub(super) fn is_short(&self) -> HistoryError {
        HistoryError::Short { path: self.path.clone() }
    }

    /// The error for a file in this directory.
    pub(super) fn failed(&self, name: &str, source: impl Into<io::Error>) -> HistoryError {
        HistoryError::Segment {
            path: self.path.clone(),
            name: name.to_owned(),
            source: source.into(),
        }
    }
}
