//! The directory of a history, held open: every file is opened relative to it, by a name that is
//! ours, and never through a symlink.

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

use super::{HistoryError, segment::Segment};

/// The file whose lock says that somebody writes.
const LOCK: &str = "lock";
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A segment that is there, with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name.
    pub segment: Segment,
    /// Whether it is a regular file: nothing else is read, written or removed.
    pub is_file: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was last written to, seconds since 1970.
    pub modified: i64,
}

impl Directory {
    /// Opens one to read.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let fd = fd.map_err(|errno| HistoryError::open(path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens one to write, and makes it and its parents where they are missing.
    pub(crate) fn create(path: &Path) -> Result<Self, HistoryError> {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
        // Where it is there, opening it tells better what is wrong with it.
        if let Err(error) = made
            && !path.is_dir()
        {
            return Err(HistoryError::open(path, error));
        }
        let directory = Self::open(path)?;
        directory.check_owner()?;
        Ok(directory)
    }

    /// Whoever can put files there could make us read or write his.
    fn check_owner(&self) -> Result<(), HistoryError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.failed(".", errno))?;
        let owner = rustix::process::geteuid().as_raw();
        let why = if stat.st_uid != owner && stat.st_uid != 0 {
            "it belongs to another user (chown it)"
        } else if stat.st_mode & 0o002 != 0 {
            "everybody may write to it (chmod o-w)"
        } else {
            return Ok(());
        };
        Err(HistoryError::Unsafe { path: self.path.clone(), why })
    }

    /// Takes the lock of the one who writes; it goes with the file that is returned.
    pub(crate) fn lock(&self) -> Result<File, HistoryError> {
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = self.open_at(LOCK, flags)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(Errno::WOULDBLOCK) => Err(HistoryError::Locked { path: self.path.clone() }),
            Err(errno) => Err(self.failed(LOCK, errno)),
        }
    }

    /// A file that must not be there yet, to append to.
    pub(crate) fn begin(&self, name: &str) -> Result<File, HistoryError> {
        self.open_at(name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND)
    }

    /// A file to read; a regular one, for a FIFO would never end.
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
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, FILE_MODE);
        Ok(File::from(fd.map_err(|errno| self.failed(name, errno))?))
    }

    /// Gives a file another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), HistoryError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.failed(to, errno))
    }

    /// Removes a file; one that is gone already is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), HistoryError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed(name, errno)),
        }
    }

    /// Makes names that were added or taken away last.
    pub(crate) fn sync(&self) -> Result<(), HistoryError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| self.failed(".", errno))
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Result<Vec<String>, HistoryError> {
        let failed = |errno| self.failed(".", errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// The segments, oldest first. One that is there both plain and compressed (it is being closed)
    /// comes once, compressed.
    pub(crate) fn segments(&self) -> Result<Vec<Listed>, HistoryError> {
        let mut segments = Vec::new();
        for segment in self.names()?.iter().filter_map(|name| Segment::parse(name)) {
            let name = segment.file_name();
            match rustix::fs::statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // Removed or renamed since.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.failed(&name, errno)),
                Ok(stat) => {
                    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
                    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                    segments.push(Listed { segment, is_file, bytes, modified: stat.st_mtime });
                }
            }
        }
        // Of one stem, `false` (plain) sorts before `true`; the later one stays.
        segments.sort_by(|a, b| b.segment.cmp(&a.segment));
        segments.dedup_by(|later, kept| later.segment.stem == kept.segment.stem);
        segments.reverse();
        Ok(segments)
    }

    /// What went wrong with a file.
    pub(super) fn failed(&self, name: &str, source: impl Into<io::Error>) -> HistoryError {
        HistoryError::Segment {
            path: self.path.clone(),
            name: name.to_owned(),
            source: source.into(),
        }
    }
}
