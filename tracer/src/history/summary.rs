//! The keys of a stored record that listing and matching need. To parse only these is several times
//! as fast as to parse the whole record.

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::report::{SCHEMA, first};

/// The victims that listing and matching look at. A report lists 256.
const MAX_VICTIMS: usize = 512;

/// Parsed from a record of any type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    /// "oom", "gap" or "loss".
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the report schema.
    pub schema: u32,
    /// In a gap or a loss since there are numbers.
    pub id: Option<String>,
    pub revision: Option<u32>,
    /// The number of the record in this history.
    pub seq: Option<u64>,
    pub time: Option<Timestamp>,
    /// The time of the latest lost record; only in a loss.
    pub last: Option<Timestamp>,
    /// The time of the last comparison without a gap; only in a gap.
    pub since: Option<Timestamp>,
    pub outcome: Option<String>,
    /// Invocations folded into this report.
    pub repeats: Option<u64>,
    pub constraint: Option<String>,
    /// Equal for kills of the same kind.
    pub fingerprint: Option<String>,
    pub trigger: Option<Box<Task>>,
    pub oom_memcg: Option<Memcg>,
    #[serde(deserialize_with = "first::<{ MAX_VICTIMS }, _, _>")]
    pub victims: Vec<Task>,
    pub verdict: Option<Cause>,
    /// The number of kills that the kernel counted; only in a gap.
    pub expected: u64,
    /// The number of kills that were seen; only in a gap.
    pub seen: u64,
    /// The number of lost records; only in a loss.
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    pub pid: i32,
    /// Only if it differs from the process.
    pub tid: Option<i32>,
    /// Set by the program, so untrusted.
    pub comm: Option<String>,
    /// The bytes in hex, if they are not UTF-8.
    pub comm_hex: Option<String>,
    /// Path of the executable, untrusted.
    pub exe: Option<String>,
    /// The kernel selected this process.
    pub chosen: bool,
    pub cgroup: Option<Memcg>,
    pub container: Option<Container>,
    /// The systemd service or scope.
    pub unit: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Memcg {
    /// Chosen by the creator of the cgroup, so untrusted.
    pub path: Option<String>,
    /// The bytes in hex, if they are not UTF-8.
    pub path_hex: Option<String>,
    /// The first components are missing.
    pub path_truncated: bool,
    /// The systemd service or scope.
    pub unit: Option<String>,
    pub usage_bytes: Option<u64>,
    pub max_bytes: Option<u64>,
    /// memory.max is "max".
    pub no_limit: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    /// Assigned by the runtime.
    pub id: Option<String>,
    /// Chosen by a user, so untrusted.
    pub name: Option<String>,
    /// Name of the pod, untrusted.
    pub pod: Option<String>,
    /// Namespace of the pod, untrusted.
    pub namespace: Option<String>,
    pub pod_uid: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    /// Name of the rule that matched.
    pub cause: String,
}

/// Why a line is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnreadableLine {
    /// It is not a record.
    Damaged,
    /// A later version of oomwhy wrote it.
    Newer {
        /// The number of the record in this history.
        seq: Option<u64>,
    },
}

impl Summary {
    pub(crate) fn parse(line: &[u8]) -> Result<Self, UnreadableLine> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
            seq: Option<u64>,
        }
        let newer = |seq| Err(UnreadableLine::Newer { seq });
        match serde_json::from_slice::<Self>(line) {
            Ok(summary) if summary.schema > SCHEMA => newer(summary.seq),
            Ok(summary) if summary.schema == 0 || summary.kind.is_empty() => {
                Err(UnreadableLine::Damaged)
            }
            Ok(summary) if matches!(summary.kind.as_str(), "oom" | "gap" | "loss") => Ok(summary),
            Ok(summary) => newer(summary.seq),
            Err(_) => match serde_json::from_slice::<Version>(line) {
                Ok(version) if version.schema > SCHEMA => newer(version.seq),
                _ => Err(UnreadableLine::Damaged),
            },
        }
    }

    /// The time by which records are sorted.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.time.or(self.last).or(self.since)
    }

    /// Without the parts that only matching needs.
    #[must_use]
    pub(crate) fn trimmed(mut self) -> Self {
        self.trigger = None;
        for victim in &mut self.victims {
            (victim.exe, victim.cgroup, victim.unit) = (None, None, None);
        }
        self.victims.shrink_to_fit();
        self
    }

    /// Memory outside of the value itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Self { kind, id, outcome, constraint, fingerprint, .. } = self;
        let texts = capacities([id, outcome, constraint, fingerprint]);
        let cause = self.verdict.as_ref().map_or(0, |verdict| verdict.cause.capacity());
        let memcg = self.oom_memcg.as_ref().map_or(0, Memcg::heap_bytes);
        let tasks = self.tasks().map(Task::heap_bytes).sum::<usize>();
        let list = self.victims.capacity() * size_of::<Task>();
        kind.capacity() + texts + cause + memcg + tasks + list
    }

    /// The process that the kernel selected, or else the first victim.
    pub(crate) fn victim(&self) -> Option<&Task> {
        self.victims.iter().find(|victim| victim.chosen).or(self.victims.first())
    }

    /// The victims, then the trigger.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.victims.iter().chain(self.trigger.as_deref())
    }
}

impl Task {
    fn heap_bytes(&self) -> usize {
        let Self { comm, comm_hex, exe, unit, .. } = self;
        let texts = capacities([comm, comm_hex, exe, unit]);
        let memcg = self.cgroup.as_ref().map_or(0, Memcg::heap_bytes);
        texts + memcg + self.container.as_ref().map_or(0, Container::heap_bytes)
    }
}

impl Memcg {
    fn heap_bytes(&self) -> usize {
        capacities([&self.path, &self.path_hex, &self.unit])
    }
}

impl Container {
    fn heap_bytes(&self) -> usize {
        let Self { id, name, pod, namespace, pod_uid } = self;
        capacities([id, name, pod, namespace, pod_uid])
    }
}

fn capacities<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().flatten().map(String::capacity).sum()
}

#[cfg(test)]
mod tests {
    use super::{Summary, UnreadableLine};

    #[test]
    fn unreadable_line_is_damaged_or_newer() {
        for (line, expected) in [
            (r#"{"type":"oom","schema":1"#, UnreadableLine::Damaged),
            (r#"{"type":"oom","schema":1,"victims":7}"#, UnreadableLine::Damaged),
            ("{}", UnreadableLine::Damaged),
            ("", UnreadableLine::Damaged),
            ("[1]", UnreadableLine::Damaged),
            (r#"{"type":"oom","schema":2}"#, UnreadableLine::Newer { seq: None }),
            (
                r#"{"type":"oom","schema":2,"victims":7,"seq":3}"#,
                UnreadableLine::Newer { seq: Some(3) },
            ),
            (r#"{"type":"growth","schema":1,"seq":4}"#, UnreadableLine::Newer { seq: Some(4) }),
        ] {
            assert_eq!(Summary::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }

    #[test]
    fn unknown_key_is_ignored() {
        let line = r#"{"type":"oom","schema":1,"new":[{"a":1}],"victims":[{"pid":7,"x":{}}]}"#;
        assert_eq!(Summary::parse(line.as_bytes()).unwrap().victims[0].pid, 7);
    }
}
