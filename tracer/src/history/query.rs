//! Selects records of the history. Pure.
//!
//! The form of a word decides what it means: digits are a pid, a word with a `/` is a cgroup or an
//! executable, and anything else is a name. A word with a `*`, `?` or `[` is a glob. Words of the
//! same kind are alternatives. A record must match one word of each kind.

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;

use super::{
    short_id,
    summary::{Container, Summary, Task},
};
use crate::pipeline::filter::{cgroup_glob, matches};

/// An empty query matches everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// Process or thread ids of victims or of the trigger.
    pub pids: Vec<i32>,
    /// Cgroups of the limit, of a victim or of the trigger, and all below; or executables.
    pub paths: Vec<PathWord>,
    /// Names of tasks, containers, pods or units, or the beginnings of report ids.
    pub names: Vec<NameWord>,
    /// Words that may be report ids, besides the meaning of their form.
    pub ids: Vec<String>,
    /// Process or thread ids from --pid.
    pub pid_flags: Vec<i32>,
    pub comms: Vec<String>,
    pub cgroups: Vec<GlobMatcher>,
    /// Names of containers, or the beginnings of their ids.
    pub containers: Vec<String>,
    /// Names, `NAMESPACE/NAME` or the beginnings of uids of pods.
    pub pods: Vec<String>,
    /// Records at this time match too.
    pub since: Option<Timestamp>,
    /// Records at this time match too.
    pub until: Option<Timestamp>,
    /// Gaps and losses do not match.
    pub only_reports: bool,
}

/// A word with a slash.
#[derive(Clone, Debug)]
pub(crate) struct PathWord {
    text: String,
    glob: GlobMatcher,
}

/// A word without a slash.
#[derive(Clone, Debug)]
pub(crate) struct NameWord {
    text: String,
    /// Only if the word has a character that stands for others.
    glob: Option<GlobMatcher>,
}

impl NameWord {
    fn new(word: &str) -> Result<Self, globset::Error> {
        let is_glob = word.contains(['*', '?', '[']);
        let glob = is_glob.then(|| Glob::new(word)).transpose()?;
        Ok(Self { text: word.to_owned(), glob: glob.map(|glob| glob.compile_matcher()) })
    }

    /// A kernel thread's name can have such a character as it is, so the text itself counts too.
    fn is(&self, name: &str) -> bool {
        self.text == name || self.glob.as_ref().is_some_and(|glob| glob.is_match(name))
    }
}

impl Query {
    /// Adds a word, by its form.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), String> {
        if let Ok(pid) = word.parse()
            && word.bytes().all(|it| it.is_ascii_digit())
        {
            self.pids.push(pid);
        } else if word.contains('/') {
            self.paths.push(PathWord { text: word.to_owned(), glob: cgroup_glob(word)? });
        } else {
            self.names.push(NameWord::new(word).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    pub(crate) fn matches(&self, summary: &Summary) -> bool {
        let is_named = self.ids.iter().any(|word| has_id(summary, word));
        let is_of_type = !self.only_reports || summary.kind == "oom";
        is_of_type && self.is_in_time(summary.time()) && (is_named || self.fits(summary))
    }

    fn fits(&self, summary: &Summary) -> bool {
        let has_pid = |&pid: &i32| summary.tasks().any(|task| has_pid(task, pid));
        any(&self.pids, has_pid)
            && any(&self.pid_flags, has_pid)
            && any(&self.paths, |word| has_path(summary, word))
            && any(&self.names, |name| has_name(summary, name))
            && any(&self.comms, |comm| has_comm(summary, comm))
            && any(&self.cgroups, |glob| cgroups(summary).any(|path| matches(glob, path)))
            && any(&self.containers, |word| {
                containers(summary).any(|container| is_container(container, word))
            })
            && any(&self.pods, |word| containers(summary).any(|container| is_pod(container, word)))
    }

    fn is_in_time(&self, time: Option<Timestamp>) -> bool {
        let is_late = self.since.is_none_or(|since| time.is_some_and(|time| time >= since));
        is_late && self.until.is_none_or(|until| time.is_some_and(|time| time <= until))
    }
}

fn any<T>(wanted: &[T], holds: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

fn has_pid(task: &Task, pid: i32) -> bool {
    task.pid == pid || task.tid == Some(pid)
}

fn has_comm(summary: &Summary, comm: &str) -> bool {
    summary.tasks().any(|task| task.comm.as_deref() == Some(comm))
}

fn has_path(summary: &Summary, word: &PathWord) -> bool {
    exes(summary).any(|exe| exe == word.text)
        || exes(summary).any(|exe| word.glob.is_match(exe))
        || containers(summary).any(|container| is_pod(container, &word.text))
        || cgroups(summary).any(|path| matches(&word.glob, path))
}

fn has_name(summary: &Summary, word: &NameWord) -> bool {
    let text = word.text.as_str();
    let of_container = |it: &Container| [it.name.clone(), it.pod.clone()];
    let mut container_names = containers(summary).flat_map(of_container).flatten();
    has_id(summary, text)
        || summary.tasks().filter_map(|task| task.comm.as_deref()).any(|comm| word.is(comm))
        || container_names.any(|name| word.is(&name))
        || units(summary).any(|unit| is_unit(unit, word))
        || containers(summary).any(|it| is_container(it, text) || is_pod(it, text))
}

/// "nginx" stands for "nginx.service", as it does for systemctl.
fn is_unit(unit: &str, word: &NameWord) -> bool {
    word.is(unit) || unit.strip_suffix(".service").is_some_and(|name| word.is(name))
}

fn exes(summary: &Summary) -> impl Iterator<Item = &str> {
    summary.tasks().filter_map(|task| task.exe.as_deref())
}

/// The units of the tasks and of the cgroup whose limit was hit.
fn units(summary: &Summary) -> impl Iterator<Item = &str> {
    let limit = summary.oom_memcg.iter().filter_map(|memcg| memcg.unit.as_deref());
    summary.tasks().filter_map(|task| task.unit.as_deref()).chain(limit)
}

fn has_id(summary: &Summary, word: &str) -> bool {
    summary.id.as_deref().is_some_and(|id| short_id::names(word, id))
}

fn cgroups(summary: &Summary) -> impl Iterator<Item = &str> {
    let tasks = summary.tasks().filter_map(|task| task.cgroup.as_ref());
    summary.oom_memcg.iter().chain(tasks).filter_map(|memcg| memcg.path.as_deref())
}

fn containers(summary: &Summary) -> impl Iterator<Item = &Container> {
    summary.tasks().filter_map(|task| task.container.as_ref())
}

/// Whether an id begins with a word. Docker's short ids have 12 digits; fewer than 4 name nothing.
fn begins(id: &str, word: &str) -> bool {
    word.len() >= 4 && id.starts_with(word)
}

fn is_container(container: &Container, word: &str) -> bool {
    container.name.as_deref() == Some(word)
        || container.id.as_deref().is_some_and(|id| begins(id, word))
}

fn is_pod(container: &Container, word: &str) -> bool {
    let Container { pod, namespace, pod_uid, .. } = container;
    let named = match word.split_once('/') {
        Some((space, name)) => namespace.as_deref() == Some(space) && pod.as_deref() == Some(name),
        None => pod.as_deref() == Some(word),
    };
    named || pod_uid.as_deref().is_some_and(|uid| begins(uid, word))
}

#[cfg(test)]
mod tests {
    use super::Query;
    use crate::{
        history::summary::{Container, Memcg, Summary, Task},
        pipeline::filter::cgroup_glob,
    };

    fn java() -> Summary {
        let memcg = |path: &str| Memcg { path: Some(path.to_owned()), ..Memcg::default() };
        let named = |name: &str| Some(name.to_owned());
        let victim = Task {
            pid: 4242,
            tid: Some(4250),
            comm: named("java"),
            exe: named("/opt/jdk/bin/java"),
            cgroup: Some(memcg("/kubepods/pod7/app")),
            container: Some(Container {
                id: named("4f9a0c5b1de2aa"),
                name: named("app"),
                pod: named("shop-7d9f"),
                namespace: named("prod"),
                pod_uid: named("7c1f0d55-aa"),
            }),
            unit: named("shop.service"),
            ..Task::default()
        };
        Summary {
            kind: "oom".to_owned(),
            id: named("2f0e7d5c-0000000210f0a1b2-4251"),
            time: "2026-11-23T09:21:07Z".parse().ok(),
            trigger: Some(Box::new(Task { pid: 1, comm: named("sh"), ..Task::default() })),
            oom_memcg: Some(memcg("/kubepods/pod7")),
            victims: vec![victim],
            ..Summary::default()
        }
    }

    fn by_words(words: &str) -> bool {
        let mut query = Query::default();
        words.split_whitespace().for_each(|word| query.word(word).unwrap());
        query.matches(&java())
    }

    #[test]
    fn word_matches_by_its_form() {
        for words in [
            "",
            "4242",
            "4250",
            "1",
            "java",
            "sh",
            "app",
            "4f9a0c5b1de2",
            "shop-7d9f",
            "prod/shop-7d9f",
            "7c1f0d55-aa",
            "7c1f",
            "2f0e7d5c",
            "shop.service",
            "shop-*",
            "jav*",
            "sho?.serv*",
            "j[aeiou]va",
            "/opt/*/bin/java",
            "/kubepods/pod7",
            "/kubepods",
            "/kubepods/*/app",
            "/opt/jdk/bin/java",
            "java node",
            "java 4242",
            "java 4242 7 /kubepods",
        ] {
            assert!(by_words(words), "{words}");
        }
        for words in [
            "7",
            "jav",
            "4f9",
            "7c1",
            "shop-",
            "av*",
            "nginx.service",
            "/opt/*/java",
            "prod/shop",
            "2f0",
            "/pod7",
            "/opt/jdk/bin",
            "node",
            "java 7",
            "node 4242",
            "java /system.slice",
        ] {
            assert!(!by_words(words), "{words}");
        }
    }

    #[test]
    fn flag_matches_only_its_kind() {
        let matches = |set: fn(&mut Query)| {
            let mut query = Query::default();
            set(&mut query);
            query.matches(&java())
        };
        assert!(matches(|it| it.comms = vec!["java".to_owned()]));
        assert!(!matches(|it| it.comms = vec!["app".to_owned()]));
        assert!(matches(|it| it.containers = vec!["app".to_owned()]));
        assert!(!matches(|it| it.containers = vec!["shop-7d9f".to_owned()]));
        assert!(matches(|it| it.pods = vec!["prod/shop-7d9f".to_owned()]));
        assert!(!matches(|it| it.pods = vec!["test/shop-7d9f".to_owned()]));
        assert!(matches(|it| it.pods = vec!["7c1f0d".to_owned()]));
        assert!(!matches(|it| it.pods = vec!["7c1".to_owned()]));
        assert!(matches(|it| it.cgroups = vec![cgroup_glob("**/app").unwrap()]));
        assert!(!matches(|it| it.cgroups = vec![cgroup_glob("/app").unwrap()]));
        assert!(matches(|it| it.only_reports = true));
        let loss = Summary { kind: "loss".to_owned(), ..Summary::default() };
        assert!(Query::default().matches(&loss));
        assert!(!Query { only_reports: true, ..Query::default() }.matches(&loss));
    }

    #[test]
    fn time_range_includes_both_ends_and_excludes_records_without_time() {
        let at =
            |second: i64| java().time.map(|time| time + jiff::SignedDuration::from_secs(second));
        for (since, until, expected) in [
            (None, None, true),
            (at(0), at(0), true),
            (at(-1), None, true),
            (at(1), None, false),
            (None, at(-1), false),
        ] {
            let query = Query { since, until, ..Query::default() };
            assert_eq!(query.matches(&java()), expected, "{since:?} {until:?}");
            let timeless = Summary { time: None, ..java() };
            assert_eq!(query.matches(&timeless), since.is_none() && until.is_none());
        }
    }
}
