//! Reads oomwhy's JSON as any other tool does: by its documented keys (docs/record.md).

use serde_json::Value;

/// Victims that a report lists.
pub const MAX_LISTED_VICTIMS: usize = 256;

/// The objects of a JSON lines stream.
pub fn objects(jsonl: &str) -> impl Iterator<Item = Value> {
    jsonl.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// Whether this is the report of an invocation that killed.
pub fn is_kill(object: &Value) -> bool {
    object["type"] == "oom" && object["outcome"] == "killed"
}

/// The number of killed processes in the reports, including those whose records were lost.
pub fn n_killed(reports: impl Iterator<Item = Value>) -> u64 {
    reports
        .filter(is_kill)
        .map(|report| {
            let n_listed = report["victims"].as_array().map_or(0, Vec::len) as u64;
            report["victims_total"].as_u64().unwrap_or(n_listed)
        })
        .sum()
}
