//! A thread that looks things up, and what it has found so far.
//!
//! It starts with the first question. Its queue is bounded: what does not fit is not looked up, and
//! the report goes without.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{container, metadata, passwd};
use crate::{
    host::procfs::process,
    model::{container_names::ContainerNames, facts::ProcessFiles},
};

/// Questions that wait. A container is made in some ms; they are answered faster.
const MOST_QUESTIONS: usize = 1024;
/// Containers whose names are kept, the ones asked for last: those that run, and many that ran.
const MOST_CONTAINERS: usize = 4096;
/// Cgroups that are visited at the start.
const MOST_CGROUPS: usize = 1 << 16;
/// When a new cgroup is looked up (again): some runtimes write their files after it is made.
const LOOK_AGAIN_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(3)];

/// A question.
#[derive(Debug)]
pub(crate) enum Question {
    /// Which containers run already, by the cgroups below this mount point?
    Scan(PathBuf),
    /// Which container is this new cgroup's?
    Made(String),
    /// Which container is this cgroup's, for a report?
    Container(String),
    /// What is this user's name, for a report?
    User(u32),
    /// What does /proc have of this process, for a report?
    Process {
        /// Number of the invocation.
        seq: u64,
        /// Process.
        pid: i32,
        /// Its start, `CLOCK_BOOTTIME` ns.
        started_ns: u64,
    },
}

impl Question {
    /// Whether somebody waits for the answer.
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Scan(_) | Self::Made(_))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Names of containers by id and of pods by uid, each with the number of its question.
    containers: BTreeMap<String, (ContainerNames, u64)>,
    /// Users.
    pub users: BTreeMap<u32, Option<String>>,
    /// By invocation and process; taken away by who asked.
    pub processes: BTreeMap<(u64, i32), ProcessFiles>,
    /// Urgent questions without an answer.
    open: usize,
    count: u64,
}

impl Known {
    /// The names of a container or a pod.
    pub(crate) fn container(&self, key: &str) -> Option<&ContainerNames> {
        self.containers.get(key).map(|(names, _)| names)
    }

    fn insert(&mut self, key: String, names: ContainerNames) {
        self.count += 1;
        if self.containers.len() >= MOST_CONTAINERS && !self.containers.contains_key(&key) {
            let oldest = self.containers.iter().min_by_key(|(_, (_, number))| *number);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.containers.remove(&oldest);
            }
        }
        self.containers.insert(key, (names, self.count));
    }
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    answered: Condvar,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, from outside.
#[derive(Debug)]
pub(crate) struct Worker {
    root: PathBuf,
    shared: Arc<Shared>,
    questions: Option<SyncSender<Question>>,
}

impl Worker {
    /// Looks below `root`. Nothing runs yet.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, shared: Arc::default(), questions: None }
    }

    /// Asks. A full queue is not waited for.
    pub(crate) fn ask(&mut self, question: Question) {
        if self.questions.is_none() {
            self.questions = start(self.root.clone(), Arc::clone(&self.shared));
        }
        let is_urgent = question.is_urgent();
        if is_urgent {
            self.shared.known().open += 1;
        }
        let sent = self.questions.as_ref().is_some_and(|queue| queue.try_send(question).is_ok());
        if is_urgent && !sent {
            self.shared.known().open -= 1;
        }
    }

    /// What is known now, or as soon as the urgent questions are answered, but no later than
    /// `patience`; at once where more than a few wait.
    pub(crate) fn known(&self, patience: Duration) -> MutexGuard<'_, Known> {
        /// Questions of one kill, and some.
        const FEW: usize = 16;
        let known = self.shared.known();
        if known.open == 0 || known.open > FEW {
            return known;
        }
        let waited = self.shared.answered.wait_timeout_while(known, patience, |it| it.open > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A host that lets us have no thread goes without.
fn start(root: PathBuf, shared: Arc<Shared>) -> Option<SyncSender<Question>> {
    let (sender, questions) = sync_channel(MOST_QUESTIONS);
    let thread = thread::Builder::new().name("oomwhy-lookup".to_owned()).stack_size(256 << 10);
    thread.spawn(move || Lookup { root, shared, again: VecDeque::new() }.run(&questions)).ok()?;
    Some(sender)
}

/// The thread, from inside.
struct Lookup {
    root: PathBuf,
    shared: Arc<Shared>,
    /// New cgroups to be looked up again: when, for which time, where.
    again: VecDeque<(Instant, usize, String)>,
}

impl Lookup {
    fn run(mut self, questions: &Receiver<Question>) {
        loop {
            let next = self.again.iter().map(|(when, ..)| *when).min();
            let question = match next {
                None => questions.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(when) => {
                    questions.recv_timeout(when.saturating_duration_since(Instant::now()))
                }
            };
            match question {
                Ok(question) => self.answer(question),
                Err(RecvTimeoutError::Timeout) => self.look_again(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, question: Question) {
        let is_urgent = question.is_urgent();
        match question {
            Question::Scan(mount) => self.scan(&mount),
            Question::Made(path) => self.made(0, path),
            Question::Container(path) => {
                self.look_up(&path);
            }
            Question::User(uid) => {
                let name = passwd::user(&self.root, uid).map(|user| user.name);
                self.shared.known().users.insert(uid, name);
            }
            Question::Process { seq, pid, started_ns } => {
                if let Some(files) = process::read(&self.root, pid, started_ns) {
                    self.shared.known().processes.insert((seq, pid), files);
                }
            }
        }
        if is_urgent {
            let mut known = self.shared.known();
            known.open = known.open.saturating_sub(1);
            drop(known);
            self.shared.answered.notify_all();
        }
    }

    fn scan(&self, mount: &Path) {
        let mut todo = VecDeque::from([String::new()]);
        for _ in 0..MOST_CGROUPS {
            let Some(path) = todo.pop_front() else { return };
            self.look_up(&path);
            // A cgroup that is gone meanwhile has no children.
            let entries = fs::read_dir(mount.join(path.trim_start_matches('/')));
            for entry in entries.into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push_back(format!("{path}/{}", entry.file_name().to_string_lossy()));
                }
            }
        }
    }

    /// Whether the container has a name now, or is none.
    fn look_up(&self, path: &str) -> bool {
        let Some(found) = container::home(path).container else {
            return true;
        };
        let key = found.id.clone().or_else(|| found.pod_uid.clone());
        let Some(key) = key else { return true };
        if self.shared.known().container(&key).is_some() {
            return true;
        }
        let names = metadata::look_up(&self.root, &found, path);
        if names.is_empty() {
            return false;
        }
        let mut known = self.shared.known();
        let pod = names.of_pod();
        let uid = found.pod_uid.or_else(|| names.pod_uid.clone()).filter(|uid| *uid != key);
        if let Some(uid) = uid.filter(|_| !pod.is_empty()) {
            known.insert(uid, pod);
        }
        known.insert(key, names);
        true
    }

    fn made(&mut self, attempt: usize, path: String) {
        let next = LOOK_AGAIN_AFTER.get(attempt + 1);
        if self.look_up(&path) || self.again.len() >= MOST_QUESTIONS {
            return;
        }
        if let Some(delay) = next {
            self.again.push_back((Instant::now() + *delay, attempt + 1, path));
        }
    }

    fn look_again(&mut self) {
        let now = Instant::now();
        for (when, attempt, path) in std::mem::take(&mut self.again) {
            if when <= now {
                self.made(attempt, path);
            } else {
                self.again.push_back((when, attempt, path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        time::{Duration, Instant},
    };

    use super::{ContainerNames, Known, MOST_CONTAINERS, Question, Worker};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn named(name: &str) -> ContainerNames {
        ContainerNames { name: Some(name.to_owned()), ..ContainerNames::default() }
    }

    #[test]
    fn a_container_is_named_though_its_files_came_late_and_are_gone() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let path = format!("/system.slice/docker-{id}.scope");
        let mut worker = Worker::new(root.path().to_owned());
        worker.ask(Question::Made(path.clone()));
        worker.ask(Question::User(0));
        assert_eq!(worker.known(PATIENCE).users.get(&0), Some(&None));
        let directory = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.v2.json"), r#"{"Name":"/hog"}"#).unwrap();
        let begin = Instant::now();
        while worker.known(PATIENCE).container(&id).is_none() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::remove_dir_all(&directory).unwrap();
        worker.ask(Question::Container(path));
        let hog = ContainerNames { runtime: Some("docker".to_owned()), ..named("hog") };
        assert_eq!(worker.known(PATIENCE).container(&id), Some(&hog));
    }

    #[test]
    fn containers_that_run_already_are_named() {
        let root = tempfile::tempdir().unwrap();
        let id = "cd".repeat(32);
        let cgroup = format!("sys/fs/cgroup/kubepods/burstable/podx/{id}");
        fs::create_dir_all(root.path().join(cgroup)).unwrap();
        let logs = root.path().join("var/log/containers");
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join(format!("web_shop_app-{id}.log")), "").unwrap();
        let mut worker = Worker::new(root.path().to_owned());
        worker.ask(Question::Scan(root.path().join("sys/fs/cgroup")));
        worker.ask(Question::User(0));
        let known = worker.known(PATIENCE);
        let pod = known.container(&id).and_then(|names| names.pod.as_deref());
        assert_eq!(pod, Some("web"));
    }

    #[test]
    fn the_containers_of_longest_ago_are_forgotten() {
        let mut known = Known::default();
        for number in 0..MOST_CONTAINERS + 2 {
            known.insert(number.to_string(), named("x"));
        }
        assert_eq!(known.containers.len(), MOST_CONTAINERS);
        assert!(known.container("1").is_none() && known.container("2").is_some());
    }
}
