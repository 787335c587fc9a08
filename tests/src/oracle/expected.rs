//! Compares the reports with the scenario's table.

use std::collections::BTreeMap;

use serde_json::Value;

use super::NO_VICTIM;
use super::check::Check;
use crate::kmsg::Log;
use crate::scenario::{BY_TIMING, Expected, Scenario, Want, shown};

/// The maximum number of reports per victim that depend on timing: one of tasks that wait while it
/// dies, and one of tasks that find memory when it is gone.
const BY_TIMING_PER_VICTIM: usize = 2;

/// Compares number and content of the reports of each outcome.
///
/// A task that retries its allocation while a victim's memory is still charged finds no other task
/// to kill. Whether that happens is up to timing, but the kernel's log has it. So a scenario that
/// does not list `no_victim` has as many of these reports as the log explains.
pub(super) fn reports(check: &mut Check, scenario: &Scenario, log: &Log, reports: &[Value]) {
    let mut by_outcome: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for report in reports.iter().filter(|report| report["type"] == "oom") {
        by_outcome.entry(report["outcome"].as_str().unwrap_or_default()).or_default().push(report);
    }
    kills(check, scenario, by_outcome.get("killed").map_or(&[], Vec::as_slice));
    for expected in scenario.reports {
        let found = by_outcome.remove(expected.outcome).unwrap_or_default();
        one_outcome(check, expected, &found);
    }
    let n_without_victim = log.without_victim().count();
    let at_most = BY_TIMING_PER_VICTIM * n_victims(reports);
    if !scenario.reports.iter().any(|expected| expected.outcome == NO_VICTIM) {
        let found = by_outcome.remove(NO_VICTIM).unwrap_or_default();
        as_the_log_has(check, &found, n_without_victim);
    }
    for (outcome, found) in by_outcome {
        let is_right = match outcome {
            "killed" => true, // Compared with the kernel's log.
            // A task that finds no victim tries again. Another CPU may have given memory back.
            "reclaimed" => found.len() <= at_most + n_without_victim,
            _ => BY_TIMING.contains(&outcome) && found.len() <= at_most,
        };
        if !is_right {
            check.disagree(format!("{} reports of outcome {outcome}", found.len()));
        }
    }
}

/// Checks the number of reports. A report can describe several consecutive invocations.
fn as_the_log_has(check: &mut Check, reports: &[&Value], n_invocations: usize) {
    let is_explained = reports.len() <= n_invocations && reports.is_empty() == (n_invocations == 0);
    if !is_explained {
        check.disagree(format!(
            "{} reports of outcome {NO_VICTIM}; the kernel's log has {n_invocations} invocations \
             without a victim",
            reports.len()
        ));
    }
}

fn n_victims(reports: &[Value]) -> usize {
    reports.iter().flat_map(super::victims).count()
}

fn one_outcome(check: &mut Check, expected: &Expected, found: &[&Value]) {
    let (min, max) = expected.count;
    let outcome = expected.outcome;
    if !(min..=max).contains(&found.len()) {
        check.disagree(format!("{} reports of outcome {outcome}, not {min} to {max}", found.len()));
    }
    for report in found {
        content(check, report, expected.says);
    }
}

/// Checks that the report of each listed victim has the expected content.
fn kills(check: &mut Check, scenario: &Scenario, killed: &[&Value]) {
    for (victim, says) in scenario.kills {
        let is_of = |report: &&&Value| report["victims"][0]["comm"] == shown(victim).as_str();
        match killed.iter().find(is_of) {
            Some(report) => content(check, report, says),
            None => check.disagree(format!("no report has {victim} as its first victim")),
        }
    }
}

fn content(check: &mut Check, report: &Value, says: &[(&str, Want)]) {
    for (path, want) in says {
        let value = find(report, path);
        if !is_wanted(value, *want) {
            let shown = value.map_or("absent".to_owned(), Value::to_string);
            let (outcome, id) = (&report["outcome"], &report["id"]);
            check.disagree(format!("{outcome} {id}: {path} is {shown}, not {want:?}"));
        }
    }
}

fn is_wanted(value: Option<&Value>, want: Want) -> bool {
    match (value, want) {
        (None, want) => want == Want::Absent,
        (Some(value), Want::Text(text)) => *value == shown(text).as_str(),
        (Some(value), Want::Number(number)) => *value == number,
        (Some(value), Want::AtLeast(least)) => value.as_i64().is_some_and(|it| it >= least),
        (Some(value), Want::Is(flag)) => *value == flag,
        (Some(_), Want::Absent) => false,
    }
}

/// The value at a path like `victims[hog].cgroup.path`: an item of a list by its comm or its index.
fn find<'a>(report: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(report, |value, step| {
        let Some((name, item)) = step.strip_suffix(']').and_then(|step| step.split_once('['))
        else {
            return value.get(step);
        };
        let list = value.get(name)?.as_array()?;
        match item.parse::<usize>() {
            Ok(index) => list.get(index),
            Err(_) => list.iter().find(|entry| entry["comm"] == shown(item).as_str()),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn value_is_found_by_name_and_by_index() {
        let report =
            json!({ "victims": [{ "comm": "a" }, { "comm": "b", "cgroup": { "id": 7 } }] });
        assert_eq!(find(&report, "victims[b].cgroup.id"), Some(&json!(7)));
        assert_eq!(find(&report, "victims[0].comm"), Some(&json!("a")));
        for absent in ["victims[c]", "victims[2]", "victims[a].cgroup.id", "x", "victims[b].x"] {
            assert_eq!(find(&report, absent), None, "{absent}");
        }
    }

    #[test]
    fn report_of_victim_is_found_and_compared() {
        let of_log = crate::scenarios::find("hostile_comm").unwrap();
        let scenario = Scenario { kills: &[("a%0a", &[("uid", Want::Number(7))])], ..*of_log };
        let disagreements = |comm: &str, uid: i64| {
            let mut check = Check::default();
            kills(&mut check, &scenario, &[&json!({ "victims": [{ "comm": comm }], "uid": uid })]);
            check.disagreements.len()
        };
        assert_eq!(disagreements("a\n", 7), 0);
        assert_eq!(disagreements("a\n", 8), 1);
        assert_eq!(disagreements("b", 7), 1);
    }

    #[test]
    fn value_is_compared_by_kind() {
        assert!(is_wanted(Some(&json!(3)), Want::Number(3)));
        assert!(is_wanted(Some(&json!(3)), Want::AtLeast(3)));
        assert!(is_wanted(Some(&json!(true)), Want::Is(true)));
        assert!(is_wanted(Some(&json!("\n")), Want::Text("%0a")));
        assert!(is_wanted(None, Want::Absent));
        assert!(!is_wanted(None, Want::Number(0)));
        assert!(!is_wanted(Some(&json!(2)), Want::AtLeast(3)));
        assert!(!is_wanted(Some(&json!("3")), Want::Number(3)));
        assert!(!is_wanted(Some(&json!(false)), Want::Absent));
    }
}
