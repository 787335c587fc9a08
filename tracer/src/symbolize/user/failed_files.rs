//! Files that made a helper process fail. They are not tried again for a while: each try takes the
//! helper's time, and other containers wait meanwhile.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use crate::host::opener::FileId;

/// How long a file is left out. A file that was changed is another one.
const QUARANTINE: Duration = Duration::from_mins(1);
/// Beyond that, the oldest are tried again.
const MAX_FILES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct FailedFiles(VecDeque<(FileId, Instant)>);

impl FailedFiles {
    pub(super) fn contains(&self, id: FileId) -> bool {
        self.0.iter().any(|(failed, since)| *failed == id && since.elapsed() < QUARANTINE)
    }

    pub(super) fn extend(&mut self, ids: impl IntoIterator<Item = FileId>) {
        self.0.retain(|(_, since)| since.elapsed() < QUARANTINE);
        self.0.extend(ids.into_iter().map(|id| (id, Instant::now())));
        let n_extra = self.0.len().saturating_sub(MAX_FILES);
        self.0.drain(..n_extra);
    }
}

/// Whether a helper failed because of the files that it read. If it could not start, or was killed
/// by the OOM killer, the next one may do better.
pub(super) fn is_fault_of_files(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut
            | ErrorKind::FileTooLarge
            | ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(inode: u64) -> FileId {
        FileId { device: 1, inode, changed_ns: 1 }
    }

    #[test]
    fn failed_file_is_known_until_it_changes_or_time_passes() {
        let mut failed = FailedFiles::default();
        failed.extend([id(7)]);
        assert!(failed.contains(id(7)) && !failed.contains(id(8)));
        assert!(!failed.contains(FileId { changed_ns: 2, ..id(7) }));
        let before = Instant::now().checked_sub(QUARANTINE).unwrap();
        failed.0 = [(id(7), before)].into();
        assert!(!failed.contains(id(7)));
    }

    #[test]
    fn too_many_failed_files_drop_the_oldest() {
        let mut failed = FailedFiles::default();
        failed.extend((0..=1024).map(id));
        assert_eq!(failed.0.len(), MAX_FILES);
        assert!(!failed.contains(id(0)) && failed.contains(id(1)) && failed.contains(id(1024)));
    }
}
