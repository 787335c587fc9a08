//! The keys of a stored record that listing and matching need. Reading these alone is several times
//! as fast as reading the whole record.

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::report::SCHEMA;

/// What is read of a record of any type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    /// "oom", "gap" or "loss".
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the contract.
    pub schema: u32,
    /// Of the report; gaps and losses have none.
    pub id: Option<String>,
    /// When it happened, or was noticed.
    pub time: Option<Timestamp>,
    /// Of a loss: the latest one.
    pub last: Option<Timestamp>,
    /// Of a gap: the latest comparison before it.
    pub since: Option<Timestamp>,
    /// How the invocation ended.
    pub outcome: Option<String>,
    /// Invocations folded into this report.
    pub repeats: Option<u64>,
    /// The domain that ran out.
    pub constraint: Option<String>,
    /// What makes it the same kill again.
    pub fingerprint: Option<String>,
    /// Who allocated.
    pub trigger: Option<Task>,
    /// Whose limit.
    pub oom_memcg: Option<Memcg>,
    /// Who died.
    pub victims: Vec<Task>,
    /// Why.
    pub verdict: Option<Cause>,
    /// Of a gap: kills that the kernel counted.
    pub expected: u64,
    /// Of a gap: kills that were seen.
    pub seen: u64,
    /// Of a loss: records.
    pub count: u64,
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    /// Process.
    pub pid: i32,
    /// Thread, where it differs.
    pub tid: Option<i32>,
    /// Name; untrusted.
    pub comm: Option<String>,
    /// Its bytes, where they are not UTF-8.
    pub comm_hex: Option<String>,
    /// Executable; untrusted.
    pub exe: Option<String>,
    /// It was selected.
    pub chosen: bool,
    /// Where it lives.
    pub cgroup: Option<Memcg>,
    /// What it lives in.
    pub container: Option<Container>,
}

/// A memory cgroup.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Memcg {
    /// Its path; untrusted.
    pub path: Option<String>,
    /// Its bytes, where they are not UTF-8.
    pub path_hex: Option<String>,
    /// Names are missing in front.
    pub path_truncated: bool,
    /// memory.current.
    pub usage_bytes: Option<u64>,
    /// memory.max.
    pub max_bytes: Option<u64>,
    /// memory.max is "max".
    pub no_limit: bool,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    /// The runtime's id.
    pub id: Option<String>,
    /// Its name; untrusted.
    pub name: Option<String>,
    /// Its pod's name; untrusted.
    pub pod: Option<String>,
    /// Its pod's namespace; untrusted.
    pub namespace: Option<String>,
    /// Its pod's uid.
    pub pod_uid: Option<String>,
}

/// A verdict.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    /// The rule that matched.
    pub cause: String,
}

/// Why a line is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is no record.
    Damaged,
    /// A later oomwhy wrote it.
    Newer,
}

impl Summary {
    /// Reads a line.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        match serde_json::from_slice::<Self>(line) {
            Ok(summary) if summary.schema > SCHEMA => Err(Unread::Newer),
            Ok(summary) if summary.schema == 0 || summary.kind.is_empty() => Err(Unread::Damaged),
            Ok(summary) if matches!(summary.kind.as_str(), "oom" | "gap" | "loss") => Ok(summary),
            Ok(_) => Err(Unread::Newer),
            Err(_) => match serde_json::from_slice::<Version>(line) {
                Ok(version) if version.schema > SCHEMA => Err(Unread::Newer),
                _ => Err(Unread::Damaged),
            },
        }
    }

    /// When it belongs in the history.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.time.or(self.last).or(self.since)
    }

    /// The one who was selected, or the first who died.
    pub(crate) fn victim(&self) -> Option<&Task> {
        self.victims.iter().find(|victim| victim.chosen).or(self.victims.first())
    }

    /// Victims, then the trigger.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.victims.iter().chain(&self.trigger)
    }
}

#[cfg(test)]
mod tests {
    use super::{Summary, Unread};

    #[test]
    fn lines_that_are_not_ours_to_read_are_told_apart() {
        for (line, expected) in [
            (r#"{"type":"oom","schema":1"#, Unread::Damaged),
            (r#"{"type":"oom","schema":1,"victims":7}"#, Unread::Damaged),
            ("{}", Unread::Damaged),
            ("", Unread::Damaged),
            ("[1]", Unread::Damaged),
            (r#"{"type":"oom","schema":2}"#, Unread::Newer),
            (r#"{"type":"oom","schema":2,"victims":7}"#, Unread::Newer),
            (r#"{"type":"growth","schema":1}"#, Unread::Newer),
        ] {
            assert_eq!(Summary::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }

    #[test]
    fn keys_that_are_not_known_are_passed_over() {
        let line = r#"{"type":"oom","schema":1,"new":[{"a":1}],"victims":[{"pid":7,"x":{}}]}"#;
        assert_eq!(Summary::parse(line.as_bytes()).unwrap().victims[0].pid, 7);
    }
}
