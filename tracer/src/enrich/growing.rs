//! Files of processes that grow near a limit, opened as soon as they are told of: when the limit is hit, or
//! while names are being looked for, they may be gone.

use std::{
    collections::VecDeque,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::symbolize::user::{Left, Process, files_of, is_same};

/// Files that wait to be used: the executables and libraries of a few services.
const MOST_FILES: usize = 64;
/// Processes that are known.
const MOST_PROCESSES: usize = 16;

/// What was opened, and is kept for when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Growing(Mutex<Opened>);

#[derive(Debug, Default)]
struct Opened {
    /// As their processes name them.
    files: VecDeque<(String, File)>,
    /// One for each process id.
    left: VecDeque<Arc<Left>>,
}

impl Growing {
    /// Opens what a process has mapped, and notes the way to what it writes of code that it makes. The
    /// oldest ones make room.
    pub(crate) fn open(&self, pid: u32) {
        let (files, left) = (files_of(pid), Left::of(pid));
        let mut opened = self.lock();
        for file in files {
            opened.add_file(file);
        }
        if let Some(left) = left {
            opened.add_left(left);
        }
    }

    /// All files; none is left.
    pub(crate) fn take_files(&self) -> VecDeque<(String, File)> {
        std::mem::take(&mut self.lock().files)
    }

    /// Once more, before names are asked for: there may be more of it now. Not if its id is another's.
    pub(crate) fn open_again(&self, pid: u32) {
        let now = Process::now(pid);
        let is_another = |left: &Arc<Left>| left.process.pid == pid && left.process != now;
        if !self.lock().left.iter().any(is_another) {
            self.open(pid);
        }
    }

    /// All ways to perf maps.
    pub(crate) fn left(&self) -> Vec<Arc<Left>> {
        self.lock().left.iter().map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn add_file(&mut self, (shown, file): (String, File)) {
        if self.files.iter().any(|(_, other)| is_same(other, &file)) {
            return;
        }
        if self.files.len() >= MOST_FILES {
            self.files.pop_front();
        }
        self.files.push_back((shown, file));
    }

    fn add_left(&mut self, left: Left) {
        let known = self.left.iter().position(|other| other.process.pid == left.process.pid);
        let left = match known.and_then(|known| self.left.remove(known)) {
            Some(before) => left.since(&before),
            None => left,
        };
        if self.left.len() >= MOST_PROCESSES {
            self.left.pop_front();
        }
        self.left.push_back(Arc::new(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_process_that_lives_are_kept_once_and_of_one_that_does_not_none() {
        let files = Growing::default();
        files.open(u32::MAX);
        assert!(files.take_files().is_empty() && files.left().is_empty());
        files.open(std::process::id());
        files.open(std::process::id());
        let own = std::env::current_exe().unwrap();
        let found = files.take_files();
        let n_own = found.iter().filter(|(shown, _)| own.as_os_str() == shown.as_str()).count();
        assert_eq!(n_own, 1, "{found:?}");
        assert!(files.take_files().is_empty());
        assert_eq!(files.left().len(), 1);
        files.open_again(std::process::id());
        assert!(files.left().len() == 1 && !files.take_files().is_empty());
    }
}
