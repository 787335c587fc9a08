//! The history: reports as JSON lines in files below one directory, written by one process and read
//! by any number of others (docs/history.md).
//!
//! For writing, [`store`] appends records, [`checksum`] ends their lines, [`segment`] names the
//! files, [`compress`] compresses closed ones, and [`vacuum`] selects those to remove. For reading,
//! [`scan`] finds the records that match a [`query`] and reads a [`summary`] of each, and [`group`]
//! groups kills that repeat. All files are opened by [`directory`].

mod checksum;
pub(crate) mod compress;
mod content;
pub(crate) mod directory;
pub(crate) mod free_space;
pub(crate) mod group;
mod last_seq;
pub(crate) mod moment;
pub(crate) mod query;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod short_id;
pub(crate) mod store;
pub(crate) mod summary;
pub(crate) mod vacuum;
pub(crate) mod when;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::fmt::sanitize::shown;

/// Directory of the history unless --dir is given.
pub(crate) const DEFAULT_DIR: &str = "/var/lib/oomwhy";

/// Why the history cannot be used.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory cannot be created or opened.
    #[error("cannot open the history {}", shown(path))]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The directory does not exist, or has no file of a history.
    #[error(
        "no history in {}\nhint: `oomwhy watch --store` keeps one; --dir names another directory",
        shown(path)
    )]
    Absent { path: PathBuf },
    /// Two writers would damage each other's segments.
    #[error(
        "another oomwhy writes to the history {}\nhint: name another directory with --dir",
        shown(path)
    )]
    Locked { path: PathBuf },
    /// Another user could put files there.
    #[error("{} is not safe for a history: {why}", shown(path))]
    Unsafe {
        path: PathBuf,
        /// The problem, with a hint.
        why: String,
    },
    /// The file system must keep some space free, and there is nothing left to remove.
    #[error("the file system of the history {} has less free space than --keep-free", shown(path))]
    Short { path: PathBuf },
    /// A record does not fit into a line of the history.
    #[error("cannot store a record: {why}")]
    Record { why: String },
    /// A file of the history cannot be read or written.
    #[error("cannot use the history file {}/{name}", shown(path))]
    Segment {
        path: PathBuf,
        name: String,
        #[source]
        source: io::Error,
    },
}

/// The paths of the files that a history in this directory has. Empty if there is none.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let directory = directory::Directory::open(path);
    let names = directory.and_then(|it| it.names()).unwrap_or_default();
    let own = names.into_iter().filter(|name| directory::is_part(name));
    own.map(|name| path.join(name)).collect()
}

impl HistoryError {
    fn open(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Open { path: path.to_owned(), source: source.into() }
    }

    /// Whether a later attempt may succeed with the same arguments: a full or read-only file
    /// system, or a disk error.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::Open { source, .. } | Self::Segment { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
                    || source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
            }
            Self::Short { .. } => true,
            Self::Absent { .. }
            | Self::Locked { .. }
            | Self::Unsafe { .. }
            | Self::Record { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
