//! Checks scenarios in which kills come faster than their details have room: every kill has a
//! report, and the report names its missing parts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::Check;
use super::{Case, is_of, victims};
use crate::kmsg::{Kill, Log};
use crate::report;
use crate::scenario::Hierarchy;

/// The keys that may be left out, and where a report has them.
const SHED: &[(&str, &str)] = &[
    ("candidates", "/candidates"),
    ("limit_chain", "/limit_chain"),
    ("oom_memcg.stat", "/oom_memcg/stat"),
    ("trigger.kernel_stack", "/trigger/kernel_stack"),
    ("trigger.user_stack", "/trigger/user_stack"),
];

/// Compares every line "Killed process" and the kernel's counters with the reports.
pub(super) fn compare(check: &mut Check, case: Case<'_>, log: &Log, all: &[Value]) {
    let kills: Vec<&Value> = all.iter().filter(|object| report::is_kill(object)).collect();
    let mut reports = BTreeMap::<i64, Vec<(&Value, &Value)>>::new();
    for report in &kills {
        for victim in victims(report) {
            reports.entry(super::check::number(victim, "pid")).or_default().push((report, victim));
        }
    }
    let n_unlisted = kills.iter().map(|report| unlisted(check, report)).sum::<u64>();
    let n_listed = reports.values().map(|of_pid| of_pid.len() as u64).sum::<u64>();
    check.equal("victims in reports", n_listed + n_unlisted, log.kills().count() as u64);
    let mut n_absent = 0;
    for kill in log.kills() {
        let mine = reports.get(&i64::from(kill.tid)).map(Vec::as_slice).unwrap_or_default();
        if mine.is_empty() && n_absent < n_unlisted {
            n_absent += 1;
            continue;
        }
        check.within(format!("victim {} ({})", kill.tid, kill.comm));
        check.equal("reports", mine.len(), 1);
        for (report, victim) in mine {
            one(check, case, report, victim, kill);
        }
        check.leave();
    }
    let of_type = |name: &str| all.iter().filter(|it| it["type"] == name).cloned().collect();
    let (losses, gaps): (Vec<Value>, Vec<Value>) = (of_type("loss"), of_type("gap"));
    check.equal("gaps", Value::from(gaps), Value::Array(Vec::new()));
    let of_kills: Vec<Value> = losses.into_iter().filter(|it| it["stage"] == "kills").collect();
    check.equal("lost kills", Value::from(of_kills), Value::Array(Vec::new()));
    if case.scenario.hierarchy == Hierarchy::V2 {
        let events = case.facts.cgroups.iter().filter_map(|cgroup| cgroup.events.get("oom_kill"));
        let counted: u64 = events.sum();
        // It counts the first victim of a group twice, and so do the lines.
        check.equal("memory.events oom_kill", counted, log.kill_lines.len() as u64);
    }
}

/// The number of victims that a report counts and does not list, because it would be too long.
fn unlisted(check: &mut Check, report: &Value) -> u64 {
    let n_listed = victims(report).count();
    let n_killed = report::n_killed([report.clone()].into_iter());
    let n_unlisted = n_killed.saturating_sub(n_listed as u64);
    if n_unlisted > 0 {
        check.equal("victims that are listed", n_listed, report::MAX_LISTED_VICTIMS);
        let mut cut = report["truncated"].as_array().into_iter().flatten();
        let cut = cut.find(|it| it["field"] == "victims").map(|it| &it["total"]);
        check.equal("victims by truncated", cut, Some(&Value::from(n_killed)));
    }
    n_unlisted
}

/// Compares the parts that every report has. Checks that the report names each absent part.
fn one(check: &mut Check, case: Case<'_>, report: &Value, victim: &Value, kill: &Kill) {
    check.equal("it is the victim", is_of(victim, kill), true);
    check.field(victim, "/comm", kill.comm.as_str());
    check.field(victim, "/uid", kill.uid);
    check.field(victim, "/oom_score_adj", kill.oom_score_adj);
    // A victim that runs on the other CPU may add one between its mark and the kernel's print.
    let printed = i64::try_from(kill.pgtables_kib * 1024).unwrap_or(i64::MAX);
    check.near("pgtables_bytes", super::check::number(victim, "pgtables_bytes"), printed, 4096);
    let cgroups = &case.facts.cgroups;
    let id = victim["cgroup"]["id"].as_str().unwrap_or_default();
    let is_known = cgroups.iter().any(|cgroup| cgroup.inode.to_string() == id);
    check.equal("its cgroup is one of the scenario", is_known, true);
    for key in ["anon_rss_bytes", "file_rss_bytes", "shmem_rss_bytes"] {
        check.equal(&format!("{key} is known"), victim[key].is_u64(), true);
    }
    let names = |list: &Value, key: &str| {
        let mut named = list.as_array().into_iter().flatten();
        named.any(|it| *it == key || it["field"].as_str().is_some_and(|it| it.starts_with(key)))
    };
    for (key, pointer) in SHED {
        let is_absent = report.pointer(pointer).is_none();
        let is_shed = names(&report["source"]["shed"], key);
        let is_missing = names(&report["source"]["missing"], key)
            || names(&report["source"]["missing"], key.split('.').next().unwrap_or_default());
        check.equal(&format!("{key} is shed and there"), is_shed && !is_absent, false);
        // Statistics and stacks belong to something whose own record may be lost.
        let whole = key.split('.').next().unwrap_or_default();
        let is_part_of_absent = whole != *key && report[whole].is_null();
        let is_named = is_shed || is_missing || is_part_of_absent;
        check.equal(&format!("{key} is absent and not named"), is_absent && !is_named, false);
    }
}
