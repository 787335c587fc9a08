//! The report against what was done. Pure.

use serde::Serialize;
use serde_json::Value;

use super::{COMM, Deed, LIMIT_BYTES};

/// What it may have besides, charged to the cgroup that it was started in.
const EARLIER_BYTES: u64 = 4 << 20;

/// Least of the limit that must be the child's own pages: page tables, stacks and slab are charged
/// to the cgroup too, and the kernel keeps counters per CPU.
const LEAST_ANON_BYTES: u64 = LIMIT_BYTES / 4 * 3;

/// One thing that was done, and what was reported of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The field of the report.
    pub field: &'static str,
    /// What was done.
    pub done: String,
    /// What was reported; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<String>,
    /// How the two compare.
    pub verdict: Verdict,
}

/// How the report compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The same.
    Agrees,
    /// Something else.
    Disagrees,
    /// Not told, and the report says that it is missing.
    NotTold,
}

impl Finding {
    /// Whether it is no disagreement.
    pub(crate) fn agrees(&self) -> bool {
        self.verdict != Verdict::Disagrees
    }
}

/// Compares.
pub(super) fn compare(deed: &Deed, report: &Value) -> Vec<Finding> {
    let chosen = chosen(deed, report);
    let victim = |key: &str| report.pointer(&format!("/victims/{chosen}/{key}"));
    let pid = deed.pid.to_string();
    let is_pid = |value: &Value| is_number(value, deed.pid);
    let is_here = |value: &Value| value.as_str().is_some_and(|path| path.ends_with(&deed.cgroup));
    let limit = format!("{} MiB", LIMIT_BYTES >> 20);
    let findings = [
        one("outcome", "killed", report.get("outcome"), |value| value == "killed"),
        // In a pid namespace we know the child by another number than the host.
        one("victims.pid", &pid, victim("vpid").or(victim("pid")), is_pid),
        one("victims.comm", COMM, victim("comm"), |value| value == COMM),
        one("victims.uid", &deed.uid.to_string(), victim("uid"), |it| is_number(it, deed.uid)),
        one("victims.cgroup.path", &deed.cgroup, victim("cgroup/path"), is_here),
        one("constraint", "memcg", report.get("constraint"), |value| value == "memcg"),
        one("oom_memcg.path", &deed.cgroup, report.pointer("/oom_memcg/path"), is_here),
        one("oom_memcg.max_bytes", &limit, report.pointer("/oom_memcg/max_bytes"), |value| {
            value.as_u64() == Some(LIMIT_BYTES)
        }),
        one(
            "victims.anon_rss_bytes",
            &format!("about {limit}"),
            victim("anon_rss_bytes"),
            |value| {
                value.as_u64().is_some_and(|bytes| {
                    (LEAST_ANON_BYTES..=LIMIT_BYTES + EARLIER_BYTES).contains(&bytes)
                })
            },
        ),
    ];
    findings.into_iter().map(|finding| excused(finding, report)).collect()
}

/// The victim that is our child; the first if none is.
fn chosen(deed: &Deed, report: &Value) -> usize {
    let victims = report.get("victims").and_then(Value::as_array);
    let is_it = |victim: &Value| {
        ["vpid", "pid"].iter().any(|key| victim.get(key).is_some_and(|id| is_number(id, deed.pid)))
    };
    victims.and_then(|victims| victims.iter().position(is_it)).unwrap_or_default()
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

/// What the report names as missing may be missing, but not who died.
fn excused(finding: Finding, report: &Value) -> Finding {
    let missing = report.pointer("/source/missing").and_then(Value::as_array);
    let is_named = |field: &str| {
        let named = missing.into_iter().flatten().filter_map(|it| it.get("field")?.as_str());
        named.into_iter().any(|name| field == name || field.starts_with(&format!("{name}.")))
    };
    let is_excused = finding.reported.is_none()
        && !matches!(finding.field, "victims.pid" | "victims.comm" | "outcome")
        && is_named(finding.field);
    if is_excused { Finding { verdict: Verdict::NotTold, ..finding } } else { finding }
}

#[cfg(test)]
mod tests;
