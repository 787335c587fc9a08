//! Files of processes that grow near a limit, opened at the first sign of growth: when the limit is
//! hit, or while names are looked up, the processes may be gone.
//!
//! This is done on a thread of its own. The thread that drains the ring must not touch files that
//! may block, and the thread that names frames may be busy for longer than a process lives.

use std::{
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    shares::Shares,
    tenants::{TaskCgroup, Tenants},
};
use crate::{
    host::{
        kept_open::KeptOpen,
        opener::{FileId, OpenedFile},
        threads::ThreadName,
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

/// Asks the thread that opens the files. The kernel limits the hints of growth, so no tenant can
/// fill the queue. But each has a share of the time.
#[derive(Debug)]
pub(crate) struct GrowingProcesses {
    pub files: Arc<GrowingProcessFiles>,
    shares: Arc<Shares>,
    tenants: Tenants,
    worker: Option<Worker<GrowingRequest>>,
}

#[derive(Debug)]
enum GrowingRequest {
    Open(u32),
    Reopen(u32),
}

impl GrowingProcesses {
    pub(crate) fn new(tenants: Tenants) -> Self {
        let shares = Arc::new(Shares::new(MAX_REQUESTS));
        Self { files: Arc::default(), shares, tenants, worker: None }
    }

    /// Number of results that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.files.lock().n_evicted() + self.shares.n_evicted()
    }

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
            let thread = GrowingThread {
                files: Arc::clone(&self.files),
                shares: Arc::clone(&self.shares),
                tenants: self.tenants.clone(),
            };
            self.worker = Worker::start(ThreadName::Growing, MAX_REQUESTS, thread).ok();
        }
        self.files.lock().n_unanswered += 1;
        if !self.worker.as_ref().is_some_and(|worker| worker.send(request)) {
            self.files.lock().n_unanswered -= 1;
        }
    }
}

struct GrowingThread {
    files: Arc<GrowingProcessFiles>,
    shares: Arc<Shares>,
    tenants: Tenants,
}

impl Work<GrowingRequest> for GrowingThread {
    fn handle(&mut self, request: GrowingRequest) {
        let (GrowingRequest::Open(pid) | GrowingRequest::Reopen(pid)) = request;
        let tenant = self.tenants.find(TaskCgroup { pid, cgroup_id: None });
        self.shares.run(&tenant, || match request {
            GrowingRequest::Open(pid) => self.files.open(pid),
            GrowingRequest::Reopen(pid) => self.files.reopen(pid),
        });
        self.files.0.change(|opened| opened.n_unanswered = opened.n_unanswered.saturating_sub(1));
        self.on_time();
    }

    fn next_time(&self) -> Option<Instant> {
        self.files.next_close()
    }

    fn on_time(&mut self) {
        self.files.close_unused(Instant::now());
    }
}

/// Shared with the thread that looks up names.
#[derive(Debug, Default)]
pub(crate) struct GrowingProcessFiles(Answers<OpenedFiles>);

#[derive(Debug)]
pub(crate) struct OpenedFiles {
    /// Each with the path by which a process has mapped it.
    files: KeptOpen<FileId, (String, OpenedFile)>,
    /// By process id.
    perf_maps: KeptOpen<u32, Arc<PerfMapSources>>,
    n_unanswered: usize,
}

impl Default for OpenedFiles {
    fn default() -> Self {
        Self {
            files: KeptOpen::new(MAX_FILES),
            perf_maps: KeptOpen::new(MAX_PROCESSES),
            n_unanswered: 0,
        }
    }
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
    pub(crate) fn take_files(&self) -> Vec<(String, OpenedFile)> {
        self.lock().files.take_values().collect()
    }

    /// When [`GrowingProcessFiles::close_unused`] has something to close.
    fn next_close(&self) -> Option<Instant> {
        let opened = self.lock();
        opened.files.next_close().into_iter().chain(opened.perf_maps.next_close()).min()
    }

    /// Closes what was not used for a while.
    fn close_unused(&self, now: Instant) {
        let mut opened = self.lock();
        opened.files.close_unused(now);
        opened.perf_maps.close_unused(now);
    }

    /// Opens again the files that a process has mapped, since there may be more by now. Does
    /// nothing if its id belongs to another process.
    fn reopen(&self, pid: u32) {
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
        self.0.lock()
    }
}

impl OpenedFiles {
    fn n_evicted(&self) -> u64 {
        self.files.n_evicted() + self.perf_maps.n_evicted()
    }

    fn add_file(&mut self, (shown, file): (String, OpenedFile)) {
        self.files.insert(file.facts.id, (shown, file));
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

    #[test]
    fn files_are_closed_some_time_after_they_were_opened() {
        let files = Arc::new(GrowingProcessFiles::default());
        let GrowingProcesses { shares, tenants, .. } = GrowingProcesses::new(Tenants::default());
        let mut thread = GrowingThread { files: Arc::clone(&files), shares, tenants };
        assert_eq!(thread.next_time(), None);
        thread.handle(GrowingRequest::Open(std::process::id()));
        let due = thread.next_time().unwrap();
        assert!(due <= Instant::now() + Duration::from_mins(1));
        files.close_unused(due + Duration::from_secs(5));
        assert_eq!(thread.next_time(), None);
        assert!(files.take_files().is_empty() && files.perf_maps().is_empty());
    }

    #[test]
    fn request_is_answered_by_the_thread_before_wait_returns() {
        let mut growing = GrowingProcesses::new(Tenants::default());
        growing.open(std::process::id());
        growing.files.wait(Duration::from_secs(20));
        assert!(!growing.files.take_files().is_empty());
        growing.reopen(std::process::id());
        growing.files.wait(Duration::from_secs(20));
        assert!(!growing.files.take_files().is_empty());
    }
}
