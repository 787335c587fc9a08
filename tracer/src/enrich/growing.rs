//! Files of processes that grow near a limit, opened as soon as they are told of: when the limit is hit, or
//! while names are being looked for, they may be gone.

use std::{
    collections::VecDeque,
    fs::File,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::user_symbols::{files_of, is_same};

/// Files that wait to be used: the executables and libraries of a few services.
const MOST_FILES: usize = 64;

/// Files, as their processes name them.
#[derive(Debug, Default)]
pub struct GrowingFiles(Mutex<VecDeque<(String, File)>>);

impl GrowingFiles {
    /// Opens what a process has mapped. The oldest ones make room.
    pub fn open(&self, pid: u32) {
        let files = files_of(pid);
        let mut waiting = self.lock();
        for (shown, file) in files {
            if waiting.iter().any(|(_, other)| is_same(other, &file)) {
                continue;
            }
            if waiting.len() >= MOST_FILES {
                waiting.pop_front();
            }
            waiting.push_back((shown, file));
        }
    }

    /// All of them; none is left.
    pub fn take(&self) -> VecDeque<(String, File)> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, File)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_process_that_lives_are_kept_once_and_of_one_that_does_not_none() {
        let files = GrowingFiles::default();
        files.open(u32::MAX);
        assert!(files.take().is_empty());
        files.open(std::process::id());
        files.open(std::process::id());
        let own = std::env::current_exe().unwrap();
        let found = files.take();
        let n_own = found.iter().filter(|(shown, _)| own.as_os_str() == shown.as_str()).count();
        assert_eq!(n_own, 1, "{found:?}");
        assert!(files.take().is_empty());
    }
}
