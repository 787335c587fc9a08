//! The history: reports in JSON lines under a directory, written by one `oomwhy`, read by any number
//! (docs/history.md).
//!
//! Writing: [`store`] appends, [`segment`] names the files, [`compress`] closes them, [`vacuum`]
//! decides which go. Reading: [`scan`] reads what a [`query`] asks for, as [`summary`]s; [`group`]
//! finds what repeats. All file work goes through one [`directory`].

pub(crate) mod compress;
pub(crate) mod directory;
pub(crate) mod group;
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

/// Where the history lies unless another directory is named.
pub(crate) const DEFAULT_DIR: &str = "/var/lib/oomwhy";

/// Why the history cannot be used.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory cannot be made or opened.
    #[error("cannot open the history {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two writers would tear each other's segments.
    #[error("another oomwhy writes to {} already: give this one its own with --dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else could put files of his own there.
    #[error("{} is not safe for a history: {why}", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What must be mended.
        why: &'static str,
    },
    /// A segment cannot be read or written.
    #[error("history: {}/{name}", path.display())]
    Segment {
        /// The directory.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HistoryError {
    fn open(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Open { path: path.to_owned(), source: source.into() }
    }

    /// Whether it may pass without anybody changing what was asked for: a full or read-only file
    /// system, an ailing disk.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::Open { source, .. } | Self::Segment { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
                    || source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
            }
            Self::Locked { .. } | Self::Unsafe { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
