//! Compares the identity of victims with the processes that the guest started.

use std::slice;

use serde_json::Value;

use super::check::Check;
use super::exit_and_reap;
use crate::facts::{Facts, Started};
use crate::plan::PASSWD;

/// The length at which the probes truncate a command line.
const CMDLINE_BYTES: usize = 1024;

/// Compares command line, executable and ancestors of a victim or a trigger that was started.
pub(super) fn compare(check: &mut Check, facts: &Facts, task: &Value) {
    let is_counted = COUNTED.contains(&facts.scenario.as_str());
    let is_required = |key: &str| !is_counted || !task[key].is_null();
    let started = facts.processes.iter().rev().find(|process| task["pid"] == process.pid);
    let Some(started) = started.filter(|started| !started.cmdline.is_empty()) else {
        return;
    };
    match task["cmdline"].as_array() {
        Some(arguments) => cmdline(check, task, started, arguments),
        None if is_required("cmdline") => check.field(task, "/cmdline", started.cmdline.clone()),
        None => {}
    }
    if is_required("exe") {
        check.field(task, "/exe", started.exe.as_str());
    }
    user(check, task, started.uid);
    if !is_required("parents") {
        return;
    }
    match task["parents"].as_array().map(Vec::as_slice) {
        Some([.., first]) => check.equal("the last of its parents", &first["pid"], &1.into()),
        _ => check.field(task, "/parents", "it was started"),
    }
}

/// Whether the report says that the kernel skipped the probe that reads this victim, one of several
/// that died at about the same time. The kernel does not run a probe on top of itself, so an exit
/// that preempts another one is not seen.
pub(super) fn was_skipped(report: &Value, victim: &Value, reports: &[Value]) -> bool {
    let reason = format!("of {}: the kernel skips a probe", victim["pid"]);
    let mut missing = report["source"]["missing"].as_array().into_iter().flatten();
    exit_and_reap::has_company(report, reports)
        && missing.any(|entry| entry["why"].as_str().is_some_and(|why| why.starts_with(&reason)))
}

/// Compares the user's name with the guest's /etc/passwd.
fn user(check: &mut Check, task: &Value, uid: u32) {
    let users = str::from_utf8(PASSWD).unwrap_or_default();
    let uid = uid.to_string();
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    let name = line.and_then(|line| line.split(':').next());
    let reported = task["user"].as_str();
    // The name is optional, because the report waits only for a short time for its look-up.
    if reported.is_some() {
        check.equal("the user", &reported, &name);
    }
}

fn cmdline(check: &mut Check, task: &Value, started: &Started, arguments: &[Value]) {
    let reported: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let (reported, full) = (reported.join("\0"), started.cmdline.join("\0"));
    // Each argument has a NUL at its end.
    let is_truncated = full.len() + 1 > CMDLINE_BYTES;
    let kept = if is_truncated { full.get(..CMDLINE_BYTES).unwrap_or(&full) } else { &full };
    check.equal("the command line", reported.as_str(), kept);
    check.equal("cmdline_truncated", task["cmdline_truncated"] == true, is_truncated);
}

/// Scenarios with enough kills for a rate, in which a part may be missing now and then.
pub const COUNTED: &[&str] = &["many_in_a_row", "hundred_in_a_row"];
/// The minimum share of tasks that have a part, percent.
const MIN_PERCENT: usize = 99;
/// The parts of an identity that are counted.
const PARTS: &[&str] = &[
    "victims.cmdline",
    "victims.exe",
    "victims.parents",
    "victims.user",
    "victims.user_stack",
    "trigger.cmdline",
    "trigger.exe",
    "trigger.parents",
];

/// The number of tasks that have a part of their identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The part, as in `source.missing`.
    pub part: &'static str,
    /// The number of tasks that have the part.
    pub present: usize,
    /// The number of all tasks.
    pub all: usize,
}

/// Counts the parts of victims and triggers of kills.
pub fn coverage(reports: &[Value]) -> Vec<Coverage> {
    let count = |part: &'static str| {
        let (role, key) = part.split_once('.').unwrap_or_default();
        let tasks = reports.iter().map(|report| &report[role]);
        let tasks: Vec<&Value> =
            tasks.flat_map(|it| it.as_array().map_or(slice::from_ref(it), Vec::as_slice)).collect();
        let present = tasks.iter().filter(|task| !task[key].is_null()).count();
        Coverage { part, present, all: tasks.len() }
    };
    PARTS.iter().map(|part| count(part)).collect()
}

/// Checks that nearly all tasks have each part.
pub(super) fn rate(check: &mut Check, reports: &[Value]) {
    for Coverage { part, present, all } in coverage(reports) {
        if all == 0 || present * 100 < all * MIN_PERCENT {
            check.disagree(format!("{part} of {present} of {all}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CMDLINE_BYTES, Check, Coverage, Facts, PARTS, Started, compare, coverage, rate};

    fn verdict(task: &serde_json::Value, last: &str) -> Vec<String> {
        let cmdline = ["/bin/hog", "anon", last].map(str::to_owned).to_vec();
        let started = Started {
            comm: "hog".to_owned(),
            pid: 7,
            cgroup: String::new(),
            oom_score_adj: 0,
            uid: 0,
            exe: "/init".to_owned(),
            cmdline,
        };
        let mut check = Check::default();
        compare(&mut check, &Facts { processes: vec![started], ..Facts::default() }, task);
        check.disagreements
    }

    #[test]
    fn wrong_command_line_is_found() {
        let right = json!({"pid": 7, "cmdline": ["/bin/hog", "anon", "200"], "exe": "/init",
            "parents": [{"pid": 3}, {"pid": 1}]});
        assert_eq!(verdict(&right, "200"), Vec::<String>::new());
        for (key, wrong) in [
            ("cmdline", json!(["/bin/hog", "anon"])),
            ("cmdline", json!(null)),
            ("cmdline_truncated", json!(true)),
            ("exe", json!("/bin/hog")),
            ("exe", json!(null)),
            ("parents", json!([{"pid": 3}])),
            ("parents", json!(null)),
        ] {
            let mut report = right.clone();
            report[key] = wrong;
            assert_eq!(verdict(&report, "200").len(), 1, "{key}");
        }
        let mut cut = right;
        cut["cmdline"][2] = json!("x".repeat(CMDLINE_BYTES - 14));
        assert_eq!(verdict(&cut, &"x".repeat(2000)).len(), 1);
        cut["cmdline_truncated"] = json!(true);
        assert_eq!(verdict(&cut, &"x".repeat(2000)), Vec::<String>::new());
    }

    #[test]
    fn present_parts_are_counted() {
        let reports = [json!({"victims": [{"cmdline": []}, {}], "trigger": {"cmdline": ["a"]}})];
        let all = coverage(&reports);
        assert_eq!(all[0], Coverage { part: "victims.cmdline", present: 1, all: 2 });
        assert_eq!(all[5], Coverage { part: "trigger.cmdline", present: 1, all: 1 });
        let mut check = Check::default();
        rate(&mut check, &reports);
        assert_eq!(check.disagreements.len(), PARTS.len() - 1);
    }
}
