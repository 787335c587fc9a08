//! Asks [`Lookup`] as events come, and turns its answers into facts when a report is made.

use std::{path::PathBuf, time::Duration};

use super::{
    container,
    name_lookup::{Lookup, LookupRequest, LookupResults},
    privacy::Privacy,
};
use crate::model::{
    account::Account,
    events::{Body, CgroupPath, Event, Task},
    facts::{Fact, Findings},
    lru::Lru,
    names::cgroup_path,
    report::lossy,
};

/// How long a report waits for answers. The ring has room for the records of a hundred kills
/// meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);

/// Users that were asked for. One that had to make room is asked for again.
const MAX_USERS: usize = 4096;

/// Finds facts about tasks and their containers.
#[derive(Debug)]
pub(crate) struct Enrichment {
    lookup: Lookup,
    /// The probes read command lines, so /proc is not read.
    has_context: bool,
    asked_users: Lru<u32, ()>,
}

impl Enrichment {
    /// `has_context`: the probes read command lines.
    pub(crate) fn new(lookup: Lookup, has_context: bool) -> Self {
        Self { lookup, has_context, asked_users: Lru::new(MAX_USERS, 1 << 20) }
    }

    /// Asks for the names of the containers that run already.
    pub(crate) fn scan(&mut self, mount: PathBuf) {
        self.lookup.ask(LookupRequest::Scan(mount));
    }

    /// Asks for the facts that the report on this event will need, while the kernel goes on.
    pub(crate) fn note(&mut self, event: &Event) {
        match &event.body {
            Body::Path(path) if !path.truncated => {
                let path = text(path);
                if container::cgroup_owner(&path).container.is_some() {
                    let is_new = event.seq == 0;
                    let request =
                        if is_new { LookupRequest::NewCgroup } else { LookupRequest::Container };
                    self.lookup.ask(request(path));
                }
            }
            Body::Invocation(invocation) if invocation.choice_made => {
                self.ask_task(event.seq, &invocation.trigger);
            }
            Body::Victim(victim) => self.ask_task(event.seq, &victim.task),
            _ => {}
        }
    }

    fn ask_task(&mut self, seq: u64, task: &Task) {
        if self.asked_users.get(&task.uid).is_none() {
            self.asked_users.insert(task.uid, ());
            self.lookup.ask(LookupRequest::User(task.uid));
        }
        if let Some(started_ns) = task.start_boottime_ns.filter(|_| !self.has_context) {
            self.lookup.ask(LookupRequest::Process { seq, pid: task.tgid, started_ns });
        }
    }

    /// The facts that were found for an account and are not in the findings yet. Adds them to the
    /// findings.
    pub(crate) fn find(
        &mut self,
        account: &Account,
        privacy: &Privacy,
        findings: &mut Findings,
    ) -> Vec<Fact> {
        let known = self.lookup.results(PATIENCE);
        let mut found = Vec::new();
        find_containers(account, findings, &known, &mut found);
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
            if let Some(files) = known.process(key)
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

    /// Drops the results for the processes of this invocation, because its report is closed.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.lookup.results(Duration::ZERO).forget(seq);
    }
}

fn find_containers(
    account: &Account,
    findings: &mut Findings,
    known: &LookupResults,
    found: &mut Vec<Fact>,
) {
    let read_paths = account.invocation().into_iter().flat_map(|it| it.paths.values()).map(text);
    let ids = account.cgroup_ids().into_iter();
    let paths_by_id = ids.filter_map(|id| findings.cgroup_paths.get(&id).cloned());
    let paths: Vec<String> = read_paths.chain(paths_by_id).collect();
    let keys = |path: &String| {
        let container = container::cgroup_owner(path).container;
        container.map(|container| container::keys(path, &container))
    };
    for keys in paths.iter().filter_map(keys) {
        for key in keys {
            // The latest answer counts, not the first one.
            let found_before = findings.containers.get(&key);
            if let Some(names) = known.container(&key).filter(|names| found_before != Some(*names))
            {
                let fact = Fact::Container { key: key.clone(), names: Box::new(names.clone()) };
                found.push(fact);
                findings.containers.insert(key, names.clone());
            }
        }
    }
}

fn text(path: &CgroupPath) -> String {
    lossy(&cgroup_path(&path.names)).0
}

#[cfg(test)]
mod tests {
    use super::{Enrichment, Findings, Lookup, Privacy};
    use crate::host::files::write_below;
    use crate::model::{
        account::{Account, InvocationAccount},
        events::{Body, CgroupPath, Event, Name, Task, samples},
        facts::Fact,
        shed::Shed,
    };

    fn event(seq: u64, body: Body) -> Event {
        Event { boottime_ns: 1, cpu: 0, seq, shed: Shed::default(), body }
    }

    #[test]
    fn find_after_events_returns_each_fact_once() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| write_below(root.path(), path, content);
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
            victims: vec![(1, victim.clone())].into(),
            paths: [(3, path.clone())].into(),
            ..InvocationAccount::default()
        });
        let mut enrichment = Enrichment::new(Lookup::new(root.path().to_owned(), None), false);
        enrichment.note(&event(9, Body::Path(path)));
        enrichment.note(&event(9, Body::Victim(Box::new(victim))));
        let redact = regex_lite::Regex::new(r"token=(\S+)").unwrap();
        let privacy = Privacy { no_cmdline: false, redact: Some(redact) };
        let mut findings = Findings::default();
        let mut found = Vec::new();
        // On a loaded host the answers may come later than a report waits for them.
        while found.len() < 3 {
            found.extend(enrichment.find(&account, &privacy, &mut findings));
        }
        assert!(found.iter().any(|fact| matches!(fact, Fact::Container { key, .. } if *key == id)));
        assert_eq!(findings.users.get(&1000).map(String::as_str), Some("app"));
        let files = findings.processes.get(&(9, 7)).and_then(|files| files.cmdline.clone());
        assert_eq!(files.unwrap(), ["java", "--token=***"]);
        assert_eq!(enrichment.find(&account, &privacy, &mut findings), []);
        // A container that was answered for once is not named so for ever.
        write(&format!("var/lib/docker/containers/{id}/config.v2.json"), r#"{"Name":"/new"}"#);
        enrichment.note(&event(0, Body::Path(account.invocation().unwrap().paths[&3].clone())));
        let found = loop {
            let found = enrichment.find(&account, &privacy, &mut findings);
            if !found.is_empty() {
                break found;
            }
        };
        let [Fact::Container { names, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(names.name.as_deref(), Some("new"));
    }
}
