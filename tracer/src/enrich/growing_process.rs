//! Files of processes that grow near a limit, opened at the first sign of growth: when the limit is
//! hit, or while names are looked up, the processes may be gone.
//!
//! This is done on a thread of its own. The thread that drains the ring must not touch files that
//! may block, and the thread that names frames may be busy for longer than a process lives.

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use crate::{
    host::{
        opener::OpenedFile,
        worker::{Answers, Work, Worker},
    },
    symbolize::user::{PerfMapSources, Process, files_of},
};

/// Requests that wait. Hints of growth are limited in rate.
const MAX_REQUESTS: usize = 64;

/// Files that wait to be used: the executables and libraries of a few services.
const MAX_FILES: usize = 64;
/// Processes whose perf maps are kept.
const MAX_PROCESSES: usize = 16;

/// Asks the thread that opens the files.
#[derive(Debug, Default)]
pub(crate) struct GrowingProcesses {
    pub files: Arc<GrowingProcessFiles>,
    worker: Option<Worker<GrowingRequest>>,
}

#[derive(Debug)]
enum GrowingRequest {
    Open(u32),
    Reopen(u32),
}

impl GrowingProcesses {
    /// Opens the files of a process that grows near a limit.
    pub(crate) fn open(&mut self, pid: u32) {
        self.send(GrowingRequest::Open(pid));
    }

    /// Opens files that the process has mapped since.
    pub(crate) fn reopen(&mut self, pid: u32) {
        self.send(GrowingRequest::Reopen(pid));
    }

    /// If the host does not allow another thread, the frames of processes that are gone stay
    /// without names.
    fn send(&mut self, request: GrowingRequest) {
        if self.worker.is_none() {
            let thread = GrowingThread(Arc::clone(&self.files));
            self.worker = Worker::start("oomwhy-growing", MAX_REQUESTS, thread).ok();
        }
        self.files.lock().n_unanswered += 1;
        if !self.worker.as_ref().is_some_and(|worker| worker.send(request)) {
            self.files.lock().n_unanswered -= 1;
        }
    }
}

struct GrowingThread(Arc<GrowingProcessFiles>);

impl Work<GrowingRequest> for GrowingThread {
    fn handle(&mut self, request: GrowingRequest) {
        match request {
            GrowingRequest::Open(pid) => self.0.open(pid),
            GrowingRequest::Reopen(pid) => self.0.reopen(pid),
        }
        self.0.0.change(|opened| opened.n_unanswered = opened.n_unanswered.saturating_sub(1));
    }
}

/// Shared with the thread that looks up names.
#[derive(Debug, Default)]
pub(crate) struct GrowingProcessFiles(Answers<OpenedFiles>);

#[derive(Debug, Default)]
pub(crate) struct OpenedFiles {
    /// Each with the path by which a process has mapped it.
    files: VecDeque<(String, OpenedFile)>,
    /// One for each process id.
    perf_maps: VecDeque<Arc<PerfMapSources>>,
    n_unanswered: usize,
}

impl GrowingProcessFiles {
    /// Opens the files that a process has mapped, and finds its perf maps. The oldest files make
    /// room.
    fn open(&self, pid: u32) {
        let (files, perf_maps) = (files_of(pid), PerfMapSources::of(pid));
        let mut opened = self.lock();
        for file in files {
            opened.add_file(file);
        }
        if let Some(perf_maps) = perf_maps {
            opened.add_perf_maps(perf_maps);
        }
    }

    /// Waits until the requests so far are answered, but no longer than `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        drop(self.0.wait_while(patience, |opened| opened.n_unanswered > 0));
    }

    /// Removes and returns all files.
    pub(crate) fn take_files(&self) -> VecDeque<(String, OpenedFile)> {
        std::mem::take(&mut self.lock().files)
    }

    /// Opens again the files that a process has mapped, since there may be more by now. Does
    /// nothing if its id belongs to another process.
    fn reopen(&self, pid: u32) {
        let now = Process::now(pid);
        let is_another = |of: &Arc<PerfMapSources>| of.process.pid == pid && of.process != now;
        if !self.lock().perf_maps.iter().any(is_another) {
            self.open(pid);
        }
    }

    pub(crate) fn perf_maps(&self) -> Vec<Arc<PerfMapSources>> {
        self.lock().perf_maps.iter().map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, OpenedFiles> {
        self.0.lock()
    }
}

impl OpenedFiles {
    fn add_file(&mut self, (shown, file): (String, OpenedFile)) {
        if self.files.iter().any(|(_, other)| other.is_same_file(&file)) {
            return;
        }
        if self.files.len() >= MAX_FILES {
            self.files.pop_front();
        }
        self.files.push_back((shown, file));
    }

    fn add_perf_maps(&mut self, new: PerfMapSources) {
        let known = self.perf_maps.iter().position(|old| old.process.pid == new.process.pid);
        let merged = match known.and_then(|known| self.perf_maps.remove(known)) {
            Some(old) => new.with_ancestors_of(&old),
            None => new,
        };
        if self.perf_maps.len() >= MAX_PROCESSES {
            self.perf_maps.pop_front();
        }
        self.perf_maps.push_back(Arc::new(merged));
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

    #[test]
    fn request_is_answered_by_the_thread_before_wait_returns() {
        let mut growing = GrowingProcesses::default();
        growing.open(std::process::id());
        growing.files.wait(Duration::from_secs(20));
        assert!(!growing.files.take_files().is_empty());
        growing.reopen(std::process::id());
        growing.files.wait(Duration::from_secs(20));
        assert!(!growing.files.take_files().is_empty());
    }
}
