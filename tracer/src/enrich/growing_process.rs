//! Files of processes that grow near a limit, opened at the first sign of growth: when the limit is
//! hit, or while names are looked up, the processes may be gone.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    host::kept_open::KeptOpen,
    symbolize::user::{FileId, PerfMapSources, Process, files_of},
};

/// Files that wait to be used: the executables and libraries of a few services.
const MAX_FILES: usize = 64;
/// Processes whose perf maps are kept.
const MAX_PROCESSES: usize = 16;

/// Shared with the thread that looks up names.
#[derive(Debug, Default)]
pub(crate) struct GrowingProcessFiles(Mutex<OpenedFiles>);

#[derive(Debug)]
struct OpenedFiles {
    /// Each with the path by which a process has mapped it.
    files: KeptOpen<FileId, (String, File)>,
    /// By process id.
    perf_maps: KeptOpen<u32, Arc<PerfMapSources>>,
}

impl Default for OpenedFiles {
    fn default() -> Self {
        Self { files: KeptOpen::new(MAX_FILES), perf_maps: KeptOpen::new(MAX_PROCESSES) }
    }
}

impl GrowingProcessFiles {
    /// Opens the files that a process has mapped, and finds its perf maps. The oldest files make
    /// room.
    pub(crate) fn open(&self, pid: u32) {
        let (files, perf_maps) = (files_of(pid), PerfMapSources::of(pid));
        let mut opened = self.lock();
        for file in files {
            opened.add_file(file);
        }
        if let Some(perf_maps) = perf_maps {
            opened.add_perf_maps(perf_maps);
        }
    }

    /// Removes and returns all files.
    pub(crate) fn take_files(&self) -> Vec<(String, File)> {
        self.lock().files.take_values().collect()
    }

    /// When [`GrowingProcessFiles::close_unused`] has something to close.
    pub(crate) fn next_close(&self) -> Option<Instant> {
        let opened = self.lock();
        opened.files.next_close().into_iter().chain(opened.perf_maps.next_close()).min()
    }

    /// Closes what was not used for a while.
    pub(crate) fn close_unused(&self, now: Instant) {
        let mut opened = self.lock();
        opened.files.close_unused(now);
        opened.perf_maps.close_unused(now);
    }

    /// Opens again the files that a process has mapped, since there may be more by now. Does
    /// nothing if its id belongs to another process.
    pub(crate) fn reopen(&self, pid: u32) {
        let now = Process::now(pid);
        let is_another = self.lock().perf_maps.get(&pid).is_some_and(|of| of.process != now);
        if !is_another {
            self.open(pid);
        }
    }

    pub(crate) fn perf_maps(&self) -> Vec<Arc<PerfMapSources>> {
        self.lock().perf_maps.iter().map(|(_, perf_maps)| Arc::clone(perf_maps)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, OpenedFiles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenedFiles {
    fn add_file(&mut self, (shown, file): (String, File)) {
        if let Some(id) = FileId::of(&file) {
            self.files.insert(id, (shown, file));
        }
    }

    fn add_perf_maps(&mut self, new: PerfMapSources) {
        let pid = new.process.pid;
        let merged = match self.perf_maps.remove(&pid) {
            Some(old) => new.with_ancestors_of(&old),
            None => new,
        };
        self.perf_maps.insert(pid, Arc::new(merged));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_twice_keeps_each_file_once_and_none_of_a_dead_process() {
        let files = GrowingProcessFiles::default();
        files.open(u32::MAX);
        assert!(files.take_files().is_empty() && files.perf_maps().is_empty());
        files.open(std::process::id());
        files.open(std::process::id());
        let own = std::env::current_exe().unwrap();
        let found = files.take_files();
        let n_own = found.iter().filter(|(shown, _)| own.as_os_str() == shown.as_str()).count();
        assert_eq!(n_own, 1, "{found:?}");
        assert!(files.take_files().is_empty());
        assert_eq!(files.perf_maps().len(), 1);
        files.reopen(std::process::id());
        assert!(files.perf_maps().len() == 1 && !files.take_files().is_empty());
    }
}
