//! Selects records of the history. Pure.
//!
//! The form of a word decides what it means: digits are a pid, a word with a `/` is a cgroup or an
//! executable, and anything else is a name. Words of the same kind are alternatives. A record must
//! match one word of each kind.

use globset::GlobMatcher;
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
    /// Names of tasks, containers or pods, or the beginnings of report ids.
    pub names: Vec<String>,
    /// Words that may be report ids besides what their form means.
    pub ids: Vec<String>,
    /// Process or thread ids from --pid.
    pub pid_flags: Vec<i32>,
    pub comms: Vec<String>,
    pub cgroups: Vec<GlobMatcher>,
    /// Names of containers, or the beginnings of their ids.
    pub containers: Vec<String>,
    /// Names, `NAMESPACE/NAME` or uids of pods.
    pub pods: Vec<String>,
    /// Records at this time match too.
    pub since: Option<Timestamp>,
    /// Records at this time match too.
    pub until: Option<Timestamp>,
}

/// A word with a slash.
#[derive(Clone, Debug)]
pub(crate) struct PathWord {
    text: String,
    glob: GlobMatcher,
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
            self.names.push(word.to_owned());
        }
        Ok(())
    }

    pub(crate) fn matches(&self, summary: &Summary) -> bool {
        let is_named = self.ids.iter().any(|word| has_id(summary, word));
        self.is_in_time(summary.time()) && (is_named || self.fits(summary))
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
    summary.tasks().any(|task| task.exe.as_ref() == Some(&word.text))
        || containers(summary).any(|container| is_pod(container, &word.text))
        || cgroups(summary).any(|path| matches(&word.glob, path))
}

fn has_name(summary: &Summary, name: &str) -> bool {
    has_id(summary, name)
        || has_comm(summary, name)
        || containers(summary).any(|it| is_container(it, name) || is_pod(it, name))
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

fn is_container(container: &Container, word: &str) -> bool {
    // Docker's short ids have 12 digits. Fewer than 4 do not name a container.
    let is_id = |id: &str| word.len() >= 4 && id.starts_with(word);
    container.name.as_deref() == Some(word) || container.id.as_deref().is_some_and(is_id)
}

fn is_pod(container: &Container, word: &str) -> bool {
    let Container { pod, namespace, pod_uid, .. } = container;
    let named = match word.split_once('/') {
        Some((space, name)) => namespace.as_deref() == Some(space) && pod.as_deref() == Some(name),
        None => pod.as_deref() == Some(word),
    };
    named || pod_uid.as_deref() == Some(word)
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
                pod_uid: named("7c1f-aa"),
            }),
            ..Task::default()
        };
        Summary {
            id: named("2f0e7d5c-0000000210f0a1b2-4251"),
            time: "2026-11-23T09:21:07Z".parse().ok(),
            trigger: Some(Task { pid: 1, comm: named("sh"), ..Task::default() }),
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
            "7c1f-aa",
            "2f0e7d5c",
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
            "shop",
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
        assert!(matches(|it| it.cgroups = vec![cgroup_glob("**/app").unwrap()]));
        assert!(!matches(|it| it.cgroups = vec![cgroup_glob("/app").unwrap()]));
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
