//! Who died: the guest knows what it started.

use serde_json::Value;

use super::check::Check;
use crate::facts::{Facts, Started};

/// What the probes keep of a command line.
const CMDLINE_BYTES: usize = 1024;
/// Compares command line, executable and ancestors of a victim or a trigger that was started.
pub(super) fn judge(check: &mut Check, facts: &Facts, task: &Value) {
    let started = facts.processes.iter().rev().find(|process| task["pid"] == process.pid);
    let Some(started) = started.filter(|started| !started.cmdline.is_empty()) else {
        return;
    };
    match task["cmdline"].as_array() {
        Some(arguments) => cmdline(check, task, started, arguments),
        None => check.field(task, "/cmdline", started.cmdline.clone()),
    }
    check.field(task, "/exe", started.exe.as_str());
    match task["parents"].as_array().map(Vec::as_slice) {
        Some([.., first]) => check.equal("the last of its parents", &first["pid"], &1.into()),
        _ => check.field(task, "/parents", "it was started"),
    }
}

fn cmdline(check: &mut Check, task: &Value, started: &Started, arguments: &[Value]) {
    let reported: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let (reported, whole) = (reported.join("\0"), started.cmdline.join("\0"));
    // Each argument has its NUL.
    let is_cut = whole.len() + 1 > CMDLINE_BYTES;
    let kept = if is_cut { whole.get(..CMDLINE_BYTES).unwrap_or(&whole) } else { &whole };
    check.equal("the command line", reported.as_str(), kept);
    check.equal("cmdline_truncated", task["cmdline_truncated"] == true, is_cut);
}

/// Of how many victims and triggers of kills the command line was caught: (caught, all) of each.
pub fn caught(reports: &[Value]) -> [(usize, usize); 2] {
    let victims = reports.iter().filter_map(|report| report["victims"].as_array()).flatten();
    let triggers = reports.iter().map(|report| &report["trigger"]);
    let count = |tasks: Vec<&Value>| {
        (tasks.iter().filter(|task| task["cmdline"].is_array()).count(), tasks.len())
    };
    [count(victims.collect()), count(triggers.collect())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CMDLINE_BYTES, Check, Facts, Started, caught, judge};

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
        judge(&mut check, &Facts { processes: vec![started], ..Facts::default() }, task);
        check.disagreements
    }

    #[test]
    fn a_wrong_a_missing_and_a_cut_command_line_are_found() {
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
    fn what_was_caught_is_counted() {
        let reports = [json!({"victims": [{"cmdline": []}, {}], "trigger": {"cmdline": ["a"]}})];
        assert_eq!(caught(&reports), [(1, 2), (1, 1)]);
    }
}
