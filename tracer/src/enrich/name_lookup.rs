//! Looks up the names of containers, pods and users, and the /proc files of processes, on a
//! worker's thread.
//!
//! The thread starts with the first request. Each tenant has a share of its time and of its queue
//! ([`Shares`]). A request beyond that is not answered, the report has no name there, and it says
//! so.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    container::{self, Maker},
    passwd,
    runtime_files::{self, HostFiles},
    shares::{self, Shares},
    tenants::{TaskCgroup, Tenants},
};
use crate::{
    host::{
        cgroupfs,
        opener::Directory,
        procfs::process,
        threads::ThreadName,
        worker::{Answers, Work, Worker},
    },
    model::{
        facts::{LookupKind, ProcessFiles},
        lru::{ByteSize, Lru},
        report::Container,
        tenant::Tenant,
    },
};

/// Requests that wait. Making a container takes milliseconds; answering takes less.
const MAX_REQUESTS: usize = 1024;
/// Those of one tenant. As many may wait for a retry.
const MAX_REQUESTS_OF_TENANT: usize = 256;
/// Containers whose names are kept, the latest ones: those that run, and many that ran.
const MAX_CONTAINERS: usize = 4096;
/// Bytes of these names: a few hundred for each container.
const MAX_CONTAINER_BYTES: usize = 2 << 20;
/// Users whose names are kept.
const MAX_USERS: usize = 4096;
/// Cgroups of containers whose maker is known, and bytes of their paths.
const MAX_MAKERS: usize = 4096;
const MAX_MAKER_BYTES: usize = 1 << 20;
/// Processes of reports that are not written yet, and bytes of their command lines.
const MAX_PROCESSES: usize = 1024;
const MAX_PROCESS_BYTES: usize = 1 << 20;
/// Cgroups that are visited at the start.
const MAX_CGROUPS: usize = 1 << 16;
/// More unanswered requests than one kill makes: a report does not wait for them.
const MAX_AWAITED: usize = 16;
/// Delays before a new cgroup is looked up, each after the one before: some runtimes write their
/// files after they made the cgroup.
const LOOKUP_DELAYS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(3)];

#[derive(Debug)]
pub(crate) enum LookupRequest {
    /// Names of the containers that run already: those with a cgroup below this mount point.
    Scan(PathBuf),
    /// Names of the container that this new cgroup is for.
    NewCgroup(String),
    /// Names of the container that this cgroup is for. A report waits for them.
    Container {
        /// The invocation that the report is about.
        seq: u64,
        path: String,
    },
    /// Name of a user. A report waits for it.
    User {
        seq: u64,
        uid: u32,
        /// The task that belongs to the user.
        task: TaskCgroup,
    },
    /// Command line and executable of a process, from /proc. A report waits for them.
    Process {
        seq: u64,
        pid: i32,
        /// When the process started, `CLOCK_BOOTTIME` ns.
        started_ns: u64,
        task: TaskCgroup,
    },
}

impl LookupRequest {
    /// The report that waits for the answer, by its invocation, and what it waits for.
    fn awaited(&self) -> Option<(u64, LookupKind)> {
        match self {
            Self::Scan(_) | Self::NewCgroup(_) => None,
            Self::Container { seq, .. } => Some((*seq, LookupKind::Container)),
            Self::User { seq, .. } => Some((*seq, LookupKind::User)),
            Self::Process { seq, .. } => Some((*seq, LookupKind::Process)),
        }
    }

    /// The tenant that it is for, as far as it is known. `None`: it is for the tracer.
    fn tenant(&self, tenants: &Tenants) -> Option<Tenant> {
        match self {
            Self::Scan(_) => None,
            Self::NewCgroup(path) | Self::Container { path, .. } => Some(container::tenant(path)),
            Self::User { task, .. } | Self::Process { task, .. } => Some(tenants.known(*task)),
        }
    }
}

/// A request, and the tenant in whose part of the queue it is.
#[derive(Debug)]
struct Queued {
    tenant: Option<Tenant>,
    request: LookupRequest,
}

/// Everything that was found so far.
#[derive(Debug)]
pub(crate) struct LookupResults {
    /// By container id and by pod uid.
    containers: Lru<String, Container>,
    /// `None` where the host has no name for the user.
    pub users: Lru<u32, Option<String>>,
    /// By invocation and process; `None` before the answer. An answer for a process that is not
    /// here comes too late for its report.
    processes: Lru<(u64, i32), Option<ProcessFiles>>,
    /// Who could make the cgroup of a container, by the cgroup's path.
    makers: Lru<String, Maker>,
    /// The kinds of refused requests, by invocation.
    refused: Lru<u64, Vec<LookupKind>>,
    /// Requests that a report waits for and that have no answer yet.
    n_awaited: usize,
}

impl Default for LookupResults {
    fn default() -> Self {
        Self {
            containers: Lru::new(MAX_CONTAINERS, MAX_CONTAINER_BYTES),
            users: Lru::new(MAX_USERS, 1 << 20),
            processes: Lru::new(MAX_PROCESSES, MAX_PROCESS_BYTES),
            makers: Lru::new(MAX_MAKERS, MAX_MAKER_BYTES),
            refused: Lru::new(MAX_PROCESSES, 256 << 10),
            n_awaited: 0,
        }
    }
}

impl LookupResults {
    /// The names of a container, by its id, or of a pod, by its uid.
    pub(crate) fn container(&self, key: &str) -> Option<&Container> {
        self.containers.get(key)
    }

    /// The files of a process, by invocation and process id.
    pub(crate) fn process(&self, key: (u64, i32)) -> Option<&ProcessFiles> {
        self.processes.get(&key)?.as_ref()
    }

    /// Who could make the cgroup of a container. `Unknown` before the answer.
    pub(crate) fn maker(&self, directory: &str) -> Maker {
        self.makers.get(directory).copied().unwrap_or(Maker::Unknown)
    }

    /// The look-ups of an invocation that were refused.
    pub(crate) fn refused(&self, seq: u64) -> &[LookupKind] {
        self.refused.get(&seq).map(Vec::as_slice).unwrap_or_default()
    }

    /// Drops the results for the processes of this invocation, and those that are still to come.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.processes.remove_range((seq, i32::MIN)..=(seq, i32::MAX));
        self.refused.remove(&seq);
    }

    fn refuse(&mut self, seq: u64, kind: LookupKind) {
        self.refused.change(seq, |kinds| {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        });
    }

    fn n_evicted(&self) -> u64 {
        let Self { containers, users, processes, makers, refused, n_awaited: _ } = self;
        containers.n_evicted()
            + users.n_evicted()
            + processes.n_evicted()
            + makers.n_evicted()
            + refused.n_evicted()
    }

    fn insert_process(&mut self, key: (u64, i32), files: ProcessFiles) {
        if self.processes.contains_key(&key) {
            self.processes.insert(key, Some(files));
        }
    }
}

/// Asks the thread, and reads its answers.
#[derive(Debug)]
pub(crate) struct Lookup {
    root: PathBuf,
    cgroup_mount: Option<PathBuf>,
    results: Arc<Answers<LookupResults>>,
    shares: Arc<Shares>,
    tenants: Tenants,
    worker: Option<Worker<Queued>>,
}

impl Lookup {
    /// Reads files below `root`, and the owners of cgroups below `cgroup_mount`. No thread runs
    /// yet.
    pub(crate) fn new(root: PathBuf, cgroup_mount: Option<PathBuf>) -> Self {
        let shares = Arc::new(Shares::new(MAX_REQUESTS_OF_TENANT));
        let (results, tenants) = (Arc::default(), Tenants::default());
        Self { root, cgroup_mount, results, shares, tenants, worker: None }
    }

    /// The tenants of cgroups, which whoever notes events must fill.
    pub(crate) fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Sends a request, and does not wait for anything.
    pub(crate) fn ask(&mut self, request: LookupRequest) {
        let awaited = request.awaited();
        if awaited.is_some() {
            let mut results = self.results.lock();
            results.n_awaited += 1;
            if let LookupRequest::Process { seq, pid, .. } = request {
                results.processes.insert((seq, pid), None);
            }
        }
        if self.send(request) {
            return;
        }
        shares::refuse();
        if let Some((seq, kind)) = awaited {
            let mut results = self.results.lock();
            results.n_awaited -= 1;
            results.refuse(seq, kind);
        }
    }

    fn send(&mut self, request: LookupRequest) -> bool {
        let tenant = request.tenant(&self.tenants);
        if tenant.as_ref().is_some_and(|tenant| !self.shares.enter(tenant)) {
            return false;
        }
        if self.worker.is_none() {
            self.worker = self.start();
        }
        let queued = Queued { tenant: tenant.clone(), request };
        let is_sent = self.worker.as_ref().is_some_and(|worker| worker.send(queued));
        if !is_sent && let Some(tenant) = tenant {
            self.shares.leave(&tenant);
        }
        is_sent
    }

    /// If the host does not allow another thread, reports have no such names.
    fn start(&self) -> Option<Worker<Queued>> {
        let root = Directory::at(&self.root)?;
        let thread = LookupThread {
            host: HostFiles { root, cgroup_mount: self.cgroup_mount.clone() },
            proc_root: self.root.clone(),
            results: Arc::clone(&self.results),
            shares: Arc::clone(&self.shares),
            tenants: self.tenants.clone(),
            retries: VecDeque::new(),
        };
        Worker::start(ThreadName::Lookup, MAX_REQUESTS, thread).ok()
    }

    /// Returns the results as soon as all awaited requests are answered, after `patience` at the
    /// latest. If more than [`MAX_AWAITED`] are unanswered (a burst of kills), it does not wait.
    pub(crate) fn results(&self, patience: Duration) -> MutexGuard<'_, LookupResults> {
        self.results.wait_while(patience, |results| (1..=MAX_AWAITED).contains(&results.n_awaited))
    }

    /// Number of results that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.results.lock().n_evicted() + self.shares.n_evicted() + self.tenants.n_evicted()
    }
}

struct LookupThread {
    host: HostFiles,
    /// The directory that /proc is in.
    proc_root: PathBuf,
    results: Arc<Answers<LookupResults>>,
    shares: Arc<Shares>,
    tenants: Tenants,
    /// New cgroups without a name so far.
    retries: VecDeque<Retry>,
}

struct Retry {
    when: Instant,
    /// Number of the attempt, from 0 on.
    attempt: usize,
    path: String,
    tenant: Tenant,
}

/// The result of looking up the names of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The names are known now, or there can be none.
    Settled,
    /// There is no name yet.
    Unnamed,
    /// The tenant has used up its share.
    Refused,
}

impl Work<Queued> for LookupThread {
    fn handle(&mut self, queued: Queued) {
        let Queued { tenant, request } = queued;
        if let Some(tenant) = &tenant {
            self.shares.leave(tenant);
        }
        let awaited = request.awaited();
        let outcome = self.answer(request);
        if let Some((seq, kind)) = awaited {
            self.results.change(|results| {
                results.n_awaited = results.n_awaited.saturating_sub(1);
                if outcome == Outcome::Refused {
                    results.refuse(seq, kind);
                }
            });
        }
    }

    fn next_time(&self) -> Option<Instant> {
        self.retries.iter().map(|retry| retry.when).min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        for retry in std::mem::take(&mut self.retries) {
            if retry.when <= now {
                self.look_up_new(retry.attempt, retry.path);
            } else {
                self.retries.push_back(retry);
            }
        }
    }
}

impl LookupThread {
    fn answer(&mut self, request: LookupRequest) -> Outcome {
        match request {
            LookupRequest::Scan(mount) => self.scan(&mount),
            LookupRequest::NewCgroup(path) => self.look_up_new(0, path),
            LookupRequest::Container { path, .. } => return self.look_up(&path, true),
            LookupRequest::User { uid, task, .. } => return self.look_up_user(uid, task),
            LookupRequest::Process { seq, pid, started_ns, task } => {
                let read = || process::read(&self.proc_root, pid, started_ns);
                let Some(files) = self.shares.run(&self.tenants.find(task), read) else {
                    return Outcome::Refused;
                };
                if let Some(files) = files {
                    self.results.lock().insert_process((seq, pid), files);
                }
            }
        }
        Outcome::Settled
    }

    fn scan(&self, mount: &Path) {
        let mut todo = VecDeque::from([String::new()]);
        for _ in 0..MAX_CGROUPS {
            let Some(path) = todo.pop_front() else { return };
            self.look_up(&path, true);
            for name in cgroupfs::children(mount, &path) {
                todo.push_back(format!("{path}/{name}"));
            }
        }
    }

    fn look_up_user(&self, uid: u32, task: TaskCgroup) -> Outcome {
        let look_up = || passwd::user(&self.host.root, uid).map(|user| user.name);
        let Some(name) = self.shares.run(&self.tenants.find(task), look_up) else {
            return Outcome::Refused;
        };
        self.results.lock().users.insert(uid, name);
        Outcome::Settled
    }

    /// Names that are known do not count for the new cgroup of a container. They do for one in a
    /// container, which can make thousands: otherwise the names of others would have to wait.
    fn look_up(&self, path: &str, known_counts: bool) -> Outcome {
        let Some(found) = container::cgroup_owner(path).container else {
            return Outcome::Settled;
        };
        let known_counts = known_counts || !is_last(path, &found);
        let maker = self.learn_maker(container::directory(path, &found));
        let mut keys = container::keys(&found, maker).into_iter();
        let Some(key) = keys.next() else { return Outcome::Settled };
        if known_counts && self.results.lock().container(&key).is_some() {
            return Outcome::Settled;
        }
        let look_up = || runtime_files::look_up(&self.host, &found, path, maker);
        let Some(names) = self.shares.run(&container::tenant(path), look_up) else {
            return Outcome::Refused;
        };
        if names.is_unnamed() {
            return Outcome::Unnamed;
        }
        let mut results = self.results.lock();
        let pod = names.of_pod();
        if let Some(uid) = keys.next().filter(|_| !pod.is_unnamed()) {
            results.containers.insert(uid, pod);
        }
        results.containers.insert(key, names);
        Outcome::Settled
    }

    /// Finds out who could make the cgroup of a container. What was found while the cgroup existed
    /// stays true when it is gone.
    fn learn_maker(&self, directory: &str) -> Maker {
        let maker = self.host.maker(directory);
        let mut results = self.results.lock();
        if maker == Maker::Unknown {
            return results.maker(directory);
        }
        results.makers.insert(directory.to_owned(), maker);
        maker
    }

    fn look_up_new(&mut self, attempt: usize, path: String) {
        if self.look_up(&path, false) != Outcome::Unnamed {
            return;
        }
        let Some(delay) = LOOKUP_DELAYS.get(attempt + 1) else { return };
        let tenant = container::tenant(&path);
        let n_of_tenant = self.retries.iter().filter(|retry| retry.tenant == tenant).count();
        if self.retries.len() >= MAX_REQUESTS || n_of_tenant >= MAX_REQUESTS_OF_TENANT {
            return shares::refuse();
        }
        let when = Instant::now() + *delay;
        self.retries.push_back(Retry { when, attempt: attempt + 1, path, tenant });
    }
}

impl ByteSize for Maker {
    fn byte_size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Whether the last cgroup of a path is that of the container, or of the pod, itself.
fn is_last(path: &str, container: &Container) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    match (&container.id, &container.pod_uid) {
        (Some(id), _) => container.nested.is_empty() && name.contains(id.as_str()),
        (None, Some(uid)) => name.contains(uid.as_str()) || name.contains(&uid.replace('-', "_")),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests;
