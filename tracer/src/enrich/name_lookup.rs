//! Looks up the names of containers, pods and users, and the /proc files of processes, on a
//! worker's thread.
//!
//! The thread starts with the first request. If its queue is full, a request is not answered, and
//! the report has no name there.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    container, passwd,
    runtime_files::{self, HostFiles},
};
use crate::{
    host::{
        cgroupfs,
        opener::Directory,
        procfs::process,
        worker::{Answers, Work, Worker},
    },
    model::{facts::ProcessFiles, lru::Lru, report::Container},
};

/// Requests that wait. Making a container takes milliseconds; answering takes less.
const MAX_REQUESTS: usize = 1024;
/// Containers whose names are kept, the latest ones: those that run, and many that ran.
const MAX_CONTAINERS: usize = 4096;
/// Bytes of these names: a few hundred for each container.
const MAX_CONTAINER_BYTES: usize = 2 << 20;
/// Users whose names are kept.
const MAX_USERS: usize = 4096;
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
    Container(String),
    /// Name of a user. A report waits for it.
    User(u32),
    /// Command line and executable of a process, from /proc. A report waits for them.
    Process {
        /// The invocation that the report is about.
        seq: u64,
        pid: i32,
        /// When the process started, `CLOCK_BOOTTIME` ns.
        started_ns: u64,
    },
}

impl LookupRequest {
    /// Whether a report waits for the answer.
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::Scan(_) | Self::NewCgroup(_))
    }
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
    /// Requests that a report waits for and that have no answer yet.
    n_awaited: usize,
}

impl Default for LookupResults {
    fn default() -> Self {
        Self {
            containers: Lru::new(MAX_CONTAINERS, MAX_CONTAINER_BYTES),
            users: Lru::new(MAX_USERS, 1 << 20),
            processes: Lru::new(MAX_PROCESSES, MAX_PROCESS_BYTES),
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

    /// Drops the results for the processes of this invocation, and those that are still to come.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.processes.remove_range((seq, i32::MIN)..=(seq, i32::MAX));
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
    worker: Option<Worker<LookupRequest>>,
}

impl Lookup {
    /// Reads files below `root`, and the owners of cgroups below `cgroup_mount`. No thread runs
    /// yet.
    pub(crate) fn new(root: PathBuf, cgroup_mount: Option<PathBuf>) -> Self {
        Self { root, cgroup_mount, results: Arc::default(), worker: None }
    }

    /// Sends a request, and does not wait for anything.
    pub(crate) fn ask(&mut self, request: LookupRequest) {
        let is_awaited = request.is_awaited();
        if is_awaited {
            let mut results = self.results.lock();
            results.n_awaited += 1;
            if let LookupRequest::Process { seq, pid, .. } = request {
                results.processes.insert((seq, pid), None);
            }
        }
        if !self.send(request) && is_awaited {
            self.results.lock().n_awaited -= 1;
        }
    }

    /// If the host does not allow another thread, reports have no such names.
    fn send(&mut self, request: LookupRequest) -> bool {
        if self.worker.is_none() {
            let root = Directory::at(&self.root);
            let host = root.map(|root| HostFiles { root, cgroup_mount: self.cgroup_mount.clone() });
            let (proc_root, results) = (self.root.clone(), Arc::clone(&self.results));
            let start = |host| {
                let thread = LookupThread { host, proc_root, results, retries: VecDeque::new() };
                Worker::start("oomwhy-lookup", MAX_REQUESTS, thread).ok()
            };
            self.worker = host.and_then(start);
        }
        self.worker.as_ref().is_some_and(|worker| worker.send(request))
    }

    /// Returns the results as soon as all awaited requests are answered, after `patience` at the
    /// latest. If more than [`MAX_AWAITED`] are unanswered (a burst of kills), it does not wait.
    pub(crate) fn results(&self, patience: Duration) -> MutexGuard<'_, LookupResults> {
        self.results.wait_while(patience, |results| (1..=MAX_AWAITED).contains(&results.n_awaited))
    }
}

struct LookupThread {
    host: HostFiles,
    /// The directory that /proc is in.
    proc_root: PathBuf,
    results: Arc<Answers<LookupResults>>,
    /// New cgroups without a name so far: when to look again, for which time, and the path.
    retries: VecDeque<(Instant, usize, String)>,
}

impl Work<LookupRequest> for LookupThread {
    fn handle(&mut self, request: LookupRequest) {
        let is_awaited = request.is_awaited();
        match request {
            LookupRequest::Scan(mount) => self.scan(&mount),
            LookupRequest::NewCgroup(path) => self.look_up_new(0, path),
            LookupRequest::Container(path) => {
                self.look_up(&path, true);
            }
            LookupRequest::User(uid) => {
                let name = passwd::user(&self.host.root, uid).map(|user| user.name);
                self.results.lock().users.insert(uid, name);
            }
            LookupRequest::Process { seq, pid, started_ns } => {
                if let Some(files) = process::read(&self.proc_root, pid, started_ns) {
                    self.results.lock().insert_process((seq, pid), files);
                }
            }
        }
        if is_awaited {
            self.results.change(|results| results.n_awaited = results.n_awaited.saturating_sub(1));
        }
    }

    fn next_time(&self) -> Option<Instant> {
        self.retries.iter().map(|(when, ..)| *when).min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        for (when, attempt, path) in std::mem::take(&mut self.retries) {
            if when <= now {
                self.look_up_new(attempt, path);
            } else {
                self.retries.push_back((when, attempt, path));
            }
        }
    }
}

impl LookupThread {
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

    /// Whether that is settled: the names are known now, or the cgroup is not a container's. Names
    /// that are known do not count for the new cgroup of a container. They do for one in a container,
    /// which can make thousands: otherwise the names of others would have to wait.
    fn look_up(&self, path: &str, known_counts: bool) -> bool {
        let Some(found) = container::cgroup_owner(path).container else {
            return true;
        };
        let known_counts = known_counts || !is_last(path, &found);
        let mut keys = container::keys(path, &found).into_iter();
        let Some(key) = keys.next() else { return true };
        if known_counts && self.results.lock().container(&key).is_some() {
            return true;
        }
        let names = runtime_files::look_up(&self.host, &found, path);
        if names.is_unnamed() {
            return false;
        }
        let mut results = self.results.lock();
        let pod = names.of_pod();
        if let Some(uid) = keys.next().filter(|_| !pod.is_unnamed()) {
            results.containers.insert(uid, pod);
        }
        results.containers.insert(key, names);
        true
    }

    fn look_up_new(&mut self, attempt: usize, path: String) {
        let next = LOOKUP_DELAYS.get(attempt + 1);
        if self.look_up(&path, false) || self.retries.len() >= MAX_REQUESTS {
            return;
        }
        if let Some(delay) = next {
            self.retries.push_back((Instant::now() + *delay, attempt + 1, path));
        }
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
mod tests {
    use std::{
        fs,
        time::{Duration, Instant},
    };

    use super::{
        Container, Lookup, LookupRequest, LookupResults, MAX_CONTAINERS, ProcessFiles, container,
        is_last,
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    fn named(name: &str) -> Container {
        Container { name: Some(name.to_owned()), ..Container::default() }
    }

    #[test]
    fn new_container_with_late_files_keeps_its_name_after_they_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let path = format!("/system.slice/docker-{id}.scope");
        let mut lookup = Lookup::new(root.path().to_owned(), None);
        lookup.ask(LookupRequest::NewCgroup(path.clone()));
        lookup.ask(LookupRequest::User(0));
        assert_eq!(lookup.results(PATIENCE).users.get(&0), Some(&None));
        let directory = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.v2.json"), r#"{"Name":"/hog"}"#).unwrap();
        let begin = Instant::now();
        while lookup.results(PATIENCE).container(&id).is_none() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::remove_dir_all(&directory).unwrap();
        lookup.ask(LookupRequest::Container(path));
        let hog = Container { runtime: Some("docker".to_owned()), ..named("hog") };
        assert_eq!(lookup.results(PATIENCE).container(&id), Some(&hog));
    }

    #[test]
    fn scan_running_container_is_named() {
        let root = tempfile::tempdir().unwrap();
        let id = "cd".repeat(32);
        let cgroup = format!("sys/fs/cgroup/kubepods/burstable/podx/{id}");
        fs::create_dir_all(root.path().join(cgroup)).unwrap();
        let logs = root.path().join("var/log/containers");
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join(format!("web_shop_app-{id}.log")), "").unwrap();
        let mut lookup = Lookup::new(root.path().to_owned(), None);
        lookup.ask(LookupRequest::Scan(root.path().join("sys/fs/cgroup")));
        lookup.ask(LookupRequest::User(0));
        let results = lookup.results(PATIENCE);
        let pod = results.container(&id).and_then(|names| names.pod.as_deref());
        assert_eq!(pod, Some("web"));
    }

    #[test]
    fn file_of_a_user_changes_no_names_of_others() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let (id, uid) = ("ab".repeat(32), "019c1fe8-0d92-4aa0-b61c-4df58bdde71c");
        let forged = format!(
            r#"{{"annotations":{{"io.kubernetes.container.name":"mine",
            "io.kubernetes.pod.name":"payments-0","io.kubernetes.pod.uid":"{uid}"}}}}"#
        );
        let me = rustix::process::geteuid().as_raw();
        write("etc/passwd", &format!("me:x:{me}:{me}::/home/me:/bin/sh\n"));
        let storage = format!("run/user/{me}/containers/overlay-containers");
        write(&format!("{storage}/{id}/userdata/config.json"), &forged);
        let session = format!("/user.slice/user-{me}.slice/user@{me}.service");
        let mount = root.path().join("cgroup");
        fs::create_dir_all(mount.join(format!("{}/libpod-{id}.scope", &session[1..]))).unwrap();
        let mut lookup = Lookup::new(root.path().to_owned(), Some(mount));
        for path in [
            format!("{session}/libpod-{id}.scope"),
            format!("{session}/kubepods/pod{uid}/{id}"),
            format!("/kubepods/burstable/pod{uid}"),
            format!("/docker/{id}"),
        ] {
            lookup.ask(LookupRequest::Container(path));
        }
        let results = lookup.results(PATIENCE);
        assert_eq!(results.container(uid), None);
        assert_eq!(results.container(&id), None);
        assert_eq!(results.container(&format!("user-{me}/{id}")), Some(&named("mine")));
    }

    #[test]
    fn new_cgroup_with_a_known_id_is_looked_up_again() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let directory = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        let mut lookup = Lookup::new(root.path().to_owned(), None);
        for name in ["first", "second"] {
            let described = format!(r#"{{"Name":"/{name}"}}"#);
            fs::write(directory.join("config.v2.json"), described).unwrap();
            lookup.ask(LookupRequest::NewCgroup(format!("/docker/{id}")));
            lookup.ask(LookupRequest::User(0));
            let results = lookup.results(PATIENCE);
            let known = results.container(&id).and_then(|names| names.name.as_deref());
            assert_eq!(known, Some(name));
        }
    }

    #[test]
    fn cgroup_below_a_known_container_is_not_looked_up_again() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let directory = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        let mut lookup = Lookup::new(root.path().to_owned(), None);
        for (name, below) in [("first", ""), ("second", "/below"), ("third", "/docker-x.scope")] {
            let described = format!(r#"{{"Name":"/{name}"}}"#);
            fs::write(directory.join("config.v2.json"), described).unwrap();
            lookup.ask(LookupRequest::NewCgroup(format!("/docker/{id}{below}")));
            lookup.ask(LookupRequest::User(0));
            let results = lookup.results(PATIENCE);
            let known = results.container(&id).and_then(|names| names.name.as_deref());
            assert_eq!(known, Some("first"));
        }
    }

    #[test]
    fn new_cgroup_of_a_container_or_of_a_pod_is_the_last_one() {
        let uid = "019c1fe8-0d92-4aa0-b61c-4df58bdde71c";
        let (id, scope_uid) = ("ab".repeat(32), uid.replace('-', "_"));
        for (path, expected) in [
            (format!("/docker/{id}"), true),
            (format!("/system.slice/docker-{id}.scope"), true),
            (format!("/docker/{id}/below"), false),
            (format!("/docker/{id}/docker-{id}.scope"), false),
            (format!("/kubepods/pod{uid}"), true),
            (format!("/kubepods.slice/kubepods-pod{scope_uid}.slice"), true),
            (format!("/kubepods/pod{uid}/below"), false),
        ] {
            let container = container::cgroup_owner(&path).container.unwrap();
            assert_eq!(is_last(&path, &container), expected, "{path}");
        }
    }

    #[test]
    fn too_many_containers_drop_the_oldest() {
        let mut results = LookupResults::default();
        for number in 0..MAX_CONTAINERS + 2 {
            results.containers.insert(number.to_string(), named("x"));
        }
        assert_eq!(results.containers.len(), MAX_CONTAINERS);
        assert!(results.container("1").is_none() && results.container("2").is_some());
    }

    #[test]
    fn files_of_a_process_that_come_after_its_report_are_dropped() {
        let mut results = LookupResults::default();
        let files = || ProcessFiles { cmdline: Some(vec!["x".to_owned()]), exe: None };
        results.processes.insert((7, 1), None);
        results.processes.insert((8, 1), None);
        results.forget(7);
        results.insert_process((7, 1), files());
        results.insert_process((8, 1), files());
        assert_eq!((results.process((7, 1)), results.process((8, 1))), (None, Some(&files())));
        assert_eq!(results.processes.len(), 1);
    }
}
