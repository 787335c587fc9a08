//! Asks [`Lookup`] as events come, and turns its answers into facts when a report is made.

use std::{path::PathBuf, time::Duration};

use super::{
    container::{self, Maker},
    name_lookup::{Lookup, LookupRequest, LookupResults},
    privacy::Privacy,
    tenants::{TaskCgroup, Tenants},
};
use crate::model::{
    account::Account,
    events::{Body, CgroupPath, Event, Task},
    facts::{Fact, Findings, LookupKind},
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
                let (id, path) = (path.id, text(path));
                self.lookup.tenants().learn(id, &path);
                if container::cgroup_owner(&path).container.is_some() {
                    self.lookup.ask(match event.seq {
                        // It is new, and no report is about it.
                        0 => LookupRequest::NewCgroup(path),
                        seq => LookupRequest::Container { seq, path },
                    });
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
        let Task { tgid: pid, uid, .. } = *task;
        let started_ns = task.start_boottime_ns;
        let task = TaskCgroup::of(task);
        if self.asked_users.get(&uid).is_none() {
            self.asked_users.insert(uid, ());
            self.lookup.ask(LookupRequest::User { seq, uid, task });
        }
        if let Some(started_ns) = started_ns.filter(|_| !self.has_context) {
            self.lookup.ask(LookupRequest::Process { seq, pid, started_ns, task });
        }
    }

    /// The tenants of cgroups, as far as events have shown their paths.
    pub(crate) fn tenants(&self) -> Tenants {
        self.lookup.tenants().clone()
    }

    /// Number of results that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.lookup.n_evicted() + self.asked_users.n_evicted()
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
        found.extend(new_refusals(account.seq(), known.refused(account.seq()), findings));
        let invocation = account.invocation();
        let was_refused = known.refused(account.seq()).contains(&LookupKind::User);
        let victims = invocation.into_iter().flat_map(|it| &it.victims);
        let trigger = invocation.and_then(|it| it.invocation.as_ref()).map(|it| &it.trigger);
        for task in victims.map(|(_, victim)| &victim.task).chain(trigger) {
            if was_refused && !known.users.contains_key(&task.uid) {
                // The next report asks again.
                self.asked_users.remove(&task.uid);
            }
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
    for path in &paths {
        let Some(container) = container::cgroup_owner(path).container else { continue };
        let directory = container::directory(path, &container);
        let maker = known.maker(directory);
        found.extend(new_maker(directory, maker, findings));
        for key in container::keys(&container, maker) {
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

/// The fact that not only root could make the cgroup of a container, unless the path shows that or
/// it is known already. Then the container gets no names of the system.
fn new_maker(directory: &str, maker: Maker, findings: &mut Findings) -> Option<Fact> {
    if maker == container::maker(directory, findings) {
        return None;
    }
    let uid = match maker {
        Maker::Root => Some(0),
        Maker::User(uid) => Some(uid),
        Maker::Unknown => None,
    };
    findings.cgroup_makers.insert(directory.to_owned(), uid);
    Some(Fact::CgroupMaker { path: directory.to_owned(), uid })
}

/// The fact that look-ups for an invocation were refused, unless it is known already.
pub(crate) fn new_refusals(
    seq: u64,
    refused: &[LookupKind],
    findings: &mut Findings,
) -> Option<Fact> {
    let before = findings.refused.get(&seq).map(Vec::as_slice).unwrap_or_default();
    let kinds: Vec<LookupKind> =
        refused.iter().copied().filter(|kind| !before.contains(kind)).collect();
    if kinds.is_empty() {
        return None;
    }
    findings.refuse(seq, &kinds);
    Some(Fact::LookupsRefused { seq, kinds })
}

fn text(path: &CgroupPath) -> String {
    lossy(&cgroup_path(&path.names)).0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Enrichment, Findings, Lookup, LookupKind, Privacy, new_refusals};
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
        let mount = root.path().join("cgroup");
        fs::create_dir_all(mount.join("docker")).unwrap();
        let lookup = Lookup::new(root.path().to_owned(), Some(mount));
        let mut enrichment = Enrichment::new(lookup, false);
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

    /// The account of a kill in these cgroups, by their ids.
    fn account(seq: u64, paths: &[&str]) -> Account {
        let names = |path: &str| path[1..].split('/').map(|it| Name(it.into())).collect();
        let path = |(id, path): (usize, &&str)| {
            let id = id as u64;
            (id, CgroupPath { id, names: names(path), truncated: false })
        };
        let paths = paths.iter().enumerate().map(path).collect();
        Account::from(InvocationAccount { seq, paths, ..InvocationAccount::default() })
    }

    fn note_paths(enrichment: &mut Enrichment, account: &Account) {
        for path in account.invocation().unwrap().paths.values() {
            enrichment.note(&event(account.seq(), Body::Path(path.clone())));
        }
    }

    /// Their service is gone, so nobody knows whether the name of its cgroup can be believed.
    #[test]
    fn container_whose_maker_is_unknown_gets_no_names_of_the_one_with_its_id() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let containers = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&containers).unwrap();
        fs::write(containers.join("config.v2.json"), r#"{"Name":"/payments"}"#).unwrap();
        let mount = root.path().join("cgroup");
        fs::create_dir_all(mount.join("docker")).unwrap();
        let lookup = Lookup::new(root.path().to_owned(), Some(mount.clone()));
        let mut enrichment = Enrichment::new(lookup, true);
        let (privacy, mut findings) = (Privacy::default(), Findings::default());
        let real = account(1, &[&format!("/docker/{id}")]);
        note_paths(&mut enrichment, &real);
        let mut found = Vec::new();
        while !found.iter().any(|fact| matches!(fact, Fact::Container { .. })) {
            found.extend(enrichment.find(&real, &privacy, &mut findings));
        }
        let forged = format!("/system.slice/their.service/docker-{id}.scope");
        let account = account(2, &[&forged]);
        let mut next = |findings: &mut Findings| {
            note_paths(&mut enrichment, &account);
            enrichment.find(&account, &privacy, findings)
        };
        let fact = |uid| Fact::CgroupMaker { path: forged.clone(), uid };
        assert_eq!(next(&mut findings), [fact(None)]);
        assert_eq!(next(&mut findings), []);
        // It was root's after all.
        fs::create_dir_all(mount.join("system.slice/their.service")).unwrap();
        let found = loop {
            let found = next(&mut findings);
            if !found.is_empty() {
                break found;
            }
        };
        assert_eq!(found, [fact(Some(0))]);
    }

    #[test]
    fn refusal_is_one_fact_for_each_report() {
        let mut findings = Findings::default();
        let both = [LookupKind::Container, LookupKind::User];
        let fact = |kinds: &[LookupKind]| Fact::LookupsRefused { seq: 1, kinds: kinds.to_vec() };
        assert_eq!(new_refusals(1, &[], &mut findings), None);
        assert_eq!(new_refusals(1, &both[..1], &mut findings), Some(fact(&both[..1])));
        assert_eq!(new_refusals(1, &both, &mut findings), Some(fact(&both[1..])));
        assert_eq!(new_refusals(1, &both, &mut findings), None);
    }
}
