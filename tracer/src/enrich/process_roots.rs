//! Root directories of the processes that a report will be about, opened while the processes run: a
//! process loses its root after its memory. The names of its functions are looked up below it.
//!
//! A root can be on a file system that hangs, when it is opened and when it is closed. So this is
//! done on a thread of its own. The thread that names functions may be busy for longer than a
//! process lives.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    shares::Shares,
    tenants::{TaskCgroup, Tenants},
};
use crate::{
    host::{
        kept_open::KeptOpen,
        threads::ThreadName,
        worker::{Work, Worker},
    },
    model::tenant::Tenant,
    symbolize::user::{Process, ProcessRoot},
};

/// Requests that wait: several for each process of a burst of kills.
const MAX_REQUESTS: usize = 256;
/// Those of one tenant.
const MAX_REQUESTS_OF_TENANT: usize = 64;
/// Directories that are kept open, each until its report is written.
const MAX_ROOTS: usize = 64;

/// Asks the thread that opens the directories.
#[derive(Debug)]
pub(crate) struct ProcessRoots {
    opened: OpenRoots,
    shares: Arc<Shares>,
    tenants: Tenants,
    worker: Option<Worker<RootRequest>>,
}

/// The open directories by invocation and process id, shared with the thread that names functions.
#[derive(Clone, Debug)]
pub(crate) struct OpenRoots(Arc<Mutex<KeptOpen<(u64, i32), ProcessRoot>>>);

#[derive(Debug)]
enum RootRequest {
    Open {
        key: (u64, i32),
        process: Process,
        task: TaskCgroup,
        queued_for: Tenant,
    },
    /// The reports of this invocation are written.
    Close(u64),
}

impl ProcessRoots {
    pub(crate) fn new(tenants: Tenants) -> Self {
        let opened = OpenRoots(Arc::new(Mutex::new(KeptOpen::new(MAX_ROOTS))));
        let shares = Arc::new(Shares::new(MAX_REQUESTS_OF_TENANT));
        Self { opened, shares, tenants, worker: None }
    }

    pub(crate) fn opened(&self) -> &OpenRoots {
        &self.opened
    }

    /// Opens the root of a process for the report on an invocation. Without room in the queue, some
    /// functions stay without names.
    pub(crate) fn open(&mut self, seq: u64, process: Process, task: TaskCgroup) {
        let Ok(pid) = i32::try_from(process.pid) else { return };
        let tenant = self.tenants.known(task);
        let (key, queued_for) = ((seq, pid), tenant.clone());
        if self.shares.enter(&tenant)
            && !self.send(RootRequest::Open { key, process, task, queued_for })
        {
            self.shares.leave(&tenant);
        }
    }

    /// Closes the roots of an invocation, because its reports are written.
    pub(crate) fn close(&mut self, seq: u64) {
        if self.worker.is_some() {
            // Without room in the queue, they are closed because they are not used.
            self.send(RootRequest::Close(seq));
        }
    }

    fn send(&mut self, request: RootRequest) -> bool {
        if self.worker.is_none() {
            let opened = self.opened.clone();
            let (shares, tenants) = (Arc::clone(&self.shares), self.tenants.clone());
            let thread = RootThread { opened, shares, tenants };
            self.worker = Worker::start(ThreadName::Roots, MAX_REQUESTS, thread).ok();
        }
        self.worker.as_ref().is_some_and(|worker| worker.send(request))
    }
}

impl OpenRoots {
    pub(crate) fn get(&self, seq: u64, pid: u32) -> Option<ProcessRoot> {
        self.lock().get(&(seq, i32::try_from(pid).ok()?)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, KeptOpen<(u64, i32), ProcessRoot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RootThread {
    opened: OpenRoots,
    shares: Arc<Shares>,
    tenants: Tenants,
}

impl Work<RootRequest> for RootThread {
    fn handle(&mut self, request: RootRequest) {
        match request {
            RootRequest::Open { key, process, task, queued_for } => {
                self.shares.leave(&queued_for);
                let has_room = self.opened.lock().len() < MAX_ROOTS;
                let open = || has_room.then(|| ProcessRoot::of(process)).flatten();
                let root = self.shares.run(&self.tenants.find(task), open).flatten();
                if let Some(root) = root {
                    self.opened.lock().insert(key, root);
                }
            }
            RootRequest::Close(seq) => self.opened.lock().retain(|(of, _)| *of != seq),
        }
        self.on_time();
    }

    fn next_time(&self) -> Option<Instant> {
        self.opened.lock().next_close()
    }

    fn on_time(&mut self) {
        self.opened.lock().close_unused(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wait_until(holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn root_is_open_from_the_request_until_its_report_is_written() {
        let mut roots = ProcessRoots::new(Tenants::default());
        let process = Process::now(std::process::id());
        roots.close(1);
        assert!(roots.worker.is_none());
        for seq in [1, 2] {
            roots.open(seq, process, TaskCgroup::default());
        }
        let opened = roots.opened().clone();
        wait_until(|| opened.get(1, process.pid).is_some() && opened.get(2, process.pid).is_some());
        roots.close(1);
        wait_until(|| opened.get(1, process.pid).is_none());
        assert!(opened.get(2, process.pid).is_some());
    }

    #[test]
    fn root_of_a_process_that_is_gone_is_not_opened() {
        let mut thread = {
            let ProcessRoots { opened, shares, tenants, .. } =
                ProcessRoots::new(Tenants::default());
            RootThread { opened, shares, tenants }
        };
        let gone = Process { pid: std::process::id(), started_ns: 1 };
        let open = |process| RootRequest::Open {
            key: (1, 1),
            process,
            task: TaskCgroup::default(),
            queued_for: Tenant::default(),
        };
        thread.handle(open(gone));
        assert_eq!(thread.next_time(), None);
        thread.handle(open(Process::now(gone.pid)));
        assert!(thread.next_time().is_some());
    }
}
