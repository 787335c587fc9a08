//! Asks the [`Worker`] as events come, and takes its answers when a report is made.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    container,
    privacy::Privacy,
    worker::{Known, Question, Worker},
};
use crate::model::{
    account::Account,
    events::{Body, Event, Name, Task},
    facts::{Fact, Findings},
};

/// How long a report may wait for answers: the ring has room for a hundred kills meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);

/// What userspace finds out about tasks and their containers.
#[derive(Debug)]
pub(crate) struct Enrichment {
    worker: Worker,
    /// The probes read command lines: /proc need not be asked.
    has_context: bool,
    /// Users whose names were looked for.
    asked: BTreeSet<u32>,
}

impl Enrichment {
    /// `has_context`: the probes read command lines themselves.
    pub(crate) fn new(worker: Worker, has_context: bool) -> Self {
        Self { worker, has_context, asked: BTreeSet::new() }
    }

    /// Looks at the containers that run already.
    pub(crate) fn scan(&mut self, mount: PathBuf) {
        self.worker.ask(Question::Scan(mount));
    }

    /// An event came in: what its report will want is looked up while the kernel goes on.
    pub(crate) fn note(&mut self, event: &Event) {
        match &event.body {
            Body::Path(path) if !path.truncated => {
                let path = joined(&path.names);
                if container::home(&path).container.is_some() {
                    let is_new = event.seq == 0;
                    let question = if is_new { Question::Made } else { Question::Container };
                    self.worker.ask(question(path));
                }
            }
            Body::Invocation(invocation) if invocation.choice_made => {
                self.task(event.seq, &invocation.trigger);
            }
            Body::Victim(victim) => self.task(event.seq, &victim.task),
            _ => {}
        }
    }

    fn task(&mut self, seq: u64, task: &Task) {
        if self.asked.insert(task.uid) {
            self.worker.ask(Question::User(task.uid));
        }
        if let Some(started_ns) = task.start_boottime_ns.filter(|_| !self.has_context) {
            self.worker.ask(Question::Process { seq, pid: task.tgid, started_ns });
        }
    }

    /// What was found for an account and is not in the findings yet.
    pub(crate) fn find(
        &mut self,
        account: &Account,
        privacy: &Privacy,
        findings: &mut Findings,
    ) -> Vec<Fact> {
        let known = self.worker.known(PATIENCE);
        let mut found = Vec::new();
        containers(account, findings, &known, &mut found);
        let invocation = account.invocation();
        let victims = invocation.into_iter().flat_map(|it| &it.victims);
        let trigger = invocation.and_then(|it| it.invocation.as_ref()).map(|it| &it.trigger);
        for task in victims.map(|(_, victim)| &victim.task).chain(trigger) {
            if let Some(Some(name)) = known.users.get(&task.uid)
                && !findings.users.contains_key(&task.uid)
            {
                found.push(Fact::User { uid: task.uid, name: name.clone() });
                findings.users.insert(task.uid, name.clone());
            }
            let key = (account.seq(), task.tgid);
            if let Some(files) = known.processes.get(&key)
                && !findings.processes.contains_key(&key)
            {
                let (seq, pid) = key;
                let files = privacy.clean(files.clone());
                found.push(Fact::Process { seq, pid, files: files.clone() });
                findings.processes.insert(key, files);
            }
        }
        found
    }

    /// A report is closed: nobody asks for its processes any more.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.worker.known(Duration::ZERO).processes.retain(|(of, _), _| *of != seq);
    }
}

fn containers(account: &Account, findings: &mut Findings, known: &Known, found: &mut Vec<Fact>) {
    let paths = account.invocation().into_iter().flat_map(|it| it.paths.values());
    let by_id = account.cgroup_ids().into_iter();
    let by_id = by_id.filter_map(|id| findings.cgroup_paths.get(&id).cloned());
    let paths: Vec<String> = paths.map(|path| joined(&path.names)).chain(by_id).collect();
    for container in paths.iter().filter_map(|path| container::home(path).container) {
        for key in [container.id, container.pod_uid].into_iter().flatten() {
            if findings.containers.contains_key(&key) {
                continue;
            }
            if let Some(names) = known.container(&key) {
                found.push(Fact::Container { key: key.clone(), names: names.clone() });
                findings.containers.insert(key, names.clone());
            }
        }
    }
}

fn joined(names: &[Name]) -> String {
    let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(&name.0)).collect();
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Enrichment, Findings, Privacy, Worker};
    use crate::model::{
        account::{Account, InvocationAccount},
        events::{Body, CgroupPath, Event, Name, Task, samples},
        facts::Fact,
    };

    fn event(seq: u64, body: Body) -> Event {
        Event { boottime_ns: 1, cpu: 0, seq, body }
    }

    #[test]
    fn what_events_ask_for_is_found_once_and_kept_as_facts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let id = "ab".repeat(32);
        write("etc/passwd", "app:x:1000:1000::/:/bin/sh\n");
        write(&format!("var/lib/docker/containers/{id}/config.v2.json"), r#"{"Name":"/hog"}"#);
        let stat = format!("7 (java) S {} 0 0", "0 ".repeat(18));
        write("proc/7/stat", &stat);
        write("proc/7/cmdline", "java\0--token=x\0");

        let task = Task {
            comm: Name(b"java".to_vec()),
            uid: 1000,
            start_boottime_ns: Some(5),
            cgroup_id: Some(3),
            ..samples::task(7)
        };
        let victim = samples::victim(task);
        let names = ["docker".to_owned(), id.clone()].map(|name| Name(name.into_bytes())).to_vec();
        let path = CgroupPath { id: 3, names, truncated: false };
        let account = Account::from(InvocationAccount {
            seq: 9,
            victims: vec![(1, victim.clone())],
            paths: [(3, path.clone())].into(),
            ..InvocationAccount::default()
        });
        let mut enrichment = Enrichment::new(Worker::new(root.path().to_owned()), false);
        enrichment.note(&event(9, Body::Path(path)));
        enrichment.note(&event(9, Body::Victim(Box::new(victim))));
        let redact = regex_lite::Regex::new(r"token=(\S+)").unwrap();
        let privacy = Privacy { no_cmdline: false, redact: Some(redact) };
        let mut findings = Findings::default();
        let mut found = Vec::new();
        // On a busy machine the answers may be later than a report would wait for them.
        while found.len() < 3 {
            found.extend(enrichment.find(&account, &privacy, &mut findings));
        }
        assert!(found.iter().any(|fact| matches!(fact, Fact::Container { key, .. } if *key == id)));
        assert_eq!(findings.users.get(&1000).map(String::as_str), Some("app"));
        let files = findings.processes.get(&(9, 7)).and_then(|files| files.cmdline.clone());
        assert_eq!(files.unwrap(), ["java", "--token=***"]);
        assert_eq!(enrichment.find(&account, &privacy, &mut findings), []);
    }
}
