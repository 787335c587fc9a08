//! Compares the report with the test kill. Pure.

use serde::Serialize;
use serde_json::Value;

use super::{COMM, LIMIT_BYTES, TestKill};

/// Memory of the child that is charged to the cgroup in which it was started.
const EARLIER_BYTES: u64 = 4 << 20;

/// The minimum of anonymous memory of the child. Page tables, stacks and slab are charged to the
/// cgroup as well, and the kernel's counters are per CPU.
const MIN_ANON_BYTES: u64 = LIMIT_BYTES / 4 * 3;

/// A field of the report beside the value that the test kill must give it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The path of the key in the report.
    pub field: &'static str,
    /// The expected value.
    pub done: String,
    /// The reported value; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<String>,
    pub verdict: Verdict,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Agrees,
    Disagrees,
    /// The field is absent, and `source.missing` lists it.
    #[serde(rename = "not_told")]
    NotReported,
}

impl Finding {
    pub(crate) fn agrees(&self) -> bool {
        self.verdict != Verdict::Disagrees
    }
}

pub(super) fn compare(test_kill: &TestKill, report: &Value) -> Vec<Finding> {
    let chosen = chosen(test_kill, report);
    let victim = |key: &str| report.pointer(&format!("/victims/{chosen}/{key}"));
    let pid = test_kill.pid.to_string();
    let is_pid = |value: &Value| is_number(value, test_kill.pid);
    let is_here =
        |value: &Value| value.as_str().is_some_and(|path| path.ends_with(&test_kill.cgroup));
    let limit = format!("{} MiB", LIMIT_BYTES >> 20);
    let findings = [
        one("outcome", "killed", report.get("outcome"), |value| value == "killed"),
        // Within a pid namespace, the child has another pid than on the host.
        one("victims.pid", &pid, victim("vpid").or(victim("pid")), is_pid),
        one("victims.comm", COMM, victim("comm"), |value| value == COMM),
        one("victims.uid", &test_kill.uid.to_string(), victim("uid"), |it| {
            is_number(it, test_kill.uid)
        }),
        one("victims.cgroup.path", &test_kill.cgroup, victim("cgroup/path"), is_here),
        one("constraint", "memcg", report.get("constraint"), |value| value == "memcg"),
        one("oom_memcg.path", &test_kill.cgroup, report.pointer("/oom_memcg/path"), is_here),
        one("oom_memcg.max_bytes", &limit, report.pointer("/oom_memcg/max_bytes"), |value| {
            value.as_u64() == Some(LIMIT_BYTES)
        }),
        one(
            "victims.anon_rss_bytes",
            &format!("about {limit}"),
            victim("anon_rss_bytes"),
            |value| {
                value.as_u64().is_some_and(|bytes| {
                    (MIN_ANON_BYTES..=LIMIT_BYTES + EARLIER_BYTES).contains(&bytes)
                })
            },
        ),
    ];
    findings.into_iter().map(|finding| excused(finding, report)).collect()
}

/// The index of the child among the victims; the first victim if it is not listed.
fn chosen(test_kill: &TestKill, report: &Value) -> usize {
    let victims = report.get("victims").and_then(Value::as_array);
    let is_child = |victim: &Value| {
        ["vpid", "pid"]
            .iter()
            .any(|key| victim.get(key).is_some_and(|id| is_number(id, test_kill.pid)))
    };
    victims.and_then(|victims| victims.iter().position(is_child)).unwrap_or_default()
}

fn is_number(value: &Value, number: u32) -> bool {
    value.as_u64() == Some(u64::from(number))
}

fn one(
    field: &'static str,
    done: &str,
    reported: Option<&Value>,
    agrees: impl Fn(&Value) -> bool,
) -> Finding {
    let verdict = match reported {
        Some(value) if agrees(value) => Verdict::Agrees,
        _ => Verdict::Disagrees,
    };
    Finding { field, done: done.to_owned(), reported: reported.map(shown), verdict }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A field that the report lists as missing may be absent, except for the victim itself.
fn excused(finding: Finding, report: &Value) -> Finding {
    let missing = report.pointer("/source/missing").and_then(Value::as_array);
    let is_named = |field: &str| {
        let named = missing.into_iter().flatten().filter_map(|it| it.get("field")?.as_str());
        named.into_iter().any(|name| field == name || field.starts_with(&format!("{name}.")))
    };
    let is_excused = finding.reported.is_none()
        && !matches!(finding.field, "victims.pid" | "victims.comm" | "outcome")
        && is_named(finding.field);
    if is_excused { Finding { verdict: Verdict::NotReported, ..finding } } else { finding }
}

#[cfg(test)]
mod tests;
