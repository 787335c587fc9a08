//! Compares the kernel's counters of kills.

use serde_json::Value;

use super::check::Check;
use super::{is_of, victims};
use crate::facts::Facts;
use crate::kmsg::Log;
use crate::scenario::{Hierarchy, Scenario, shown};

/// Compares `oom_kill` of memory.events with the number of lines "Killed process" for victims in
/// the cgroup or below it.
pub(super) fn memory_events(
    check: &mut Check,
    scenario: &Scenario,
    facts: &Facts,
    log: &Log,
    reports: &[Value],
) {
    if scenario.hierarchy != Hierarchy::V2 {
        return; // In v1 the counter does not include child cgroups.
    }
    for cgroup in &facts.cgroups {
        let n_of_that_name = facts.cgroups.iter().filter(|other| other.path == cgroup.path).count();
        let Some(counted) = cgroup.events.get("oom_kill").filter(|_| n_of_that_name == 1) else {
            continue;
        };
        let path = shown(&cgroup.path);
        let reported = reports.iter().flat_map(victims).filter(|victim| lives_in(victim, &path));
        let n_lines = |victim: &Value| {
            let kill = log.kills().find(|kill| is_of(victim, kill));
            let lines = log.kill_lines.iter();
            lines.filter(|tid| kill.is_some_and(|kill| kill.tid == **tid)).count() as u64
        };
        let expected: u64 = reported.map(n_lines).sum();
        check.equal(&format!("memory.events oom_kill of {path}"), *counted, expected);
    }
}

fn lives_in(victim: &Value, path: &str) -> bool {
    let home = victim["cgroup"]["path"].as_str().unwrap_or_default();
    home.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
