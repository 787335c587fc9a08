//! Compares the other formats and filters of the same kills with the scenario.

use std::collections::BTreeMap;

use serde_json::Value;

use super::NO_VICTIM;
use super::check::Check;
use crate::kmsg::Log;
use crate::scenario::{BY_TIMING, Launched, Scenario, Step, Watcher};

/// Each watcher must have ended well and printed the output that the scenario expects.
pub(super) fn compare(
    check: &mut Check,
    scenario: &Scenario,
    log: &Log,
    outputs: &BTreeMap<String, (String, String)>,
) {
    for step in scenario.steps {
        if let Step::Launch(run) = step {
            check.within(format!("program {}", run.name));
            match outputs.get(run.name) {
                Some((output, exit)) => program(check, run, output, exit),
                None => check.disagree("it has no results".to_owned()),
            }
            check.leave();
        }
        if let Some(watcher) = step.watcher() {
            check.within(format!("watcher {}", watcher.name));
            match outputs.get(watcher.name) {
                Some((stdout, exit)) => one(check, watcher, log, stdout, exit),
                None => check.disagree("it has no results".to_owned()),
            }
            check.leave();
        }
    }
}

fn program(check: &mut Check, run: &Launched, output: &str, exit: &str) {
    check.equal("exit code", exit.trim(), run.exit);
    if let Some(lines) = run.lines {
        check.equal("lines", output.lines().count(), lines);
    }
    texts(check, output, run.has, run.has_not);
}

fn texts(check: &mut Check, output: &str, has: &[&str], has_not: &[&str]) {
    let before = check.disagreements.len();
    for (texts, wanted) in [(has, true), (has_not, false)] {
        for text in texts {
            check.equal(&format!("it has {text:?}"), output.contains(text), wanted);
        }
    }
    if check.disagreements.len() > before {
        check.disagree(format!("its output: {}", output.trim_end()));
    }
}

fn one(check: &mut Check, watcher: &Watcher, log: &Log, stdout: &str, exit: &str) {
    check.equal("exit code", exit.trim(), "0");
    let (start, min, max) = watcher.lines;
    let lines = stdout.lines().filter(|line| line.starts_with(start));
    let n_lines = lines.filter(|line| !depends_on_timing(log, line)).count();
    if !(min..=max).contains(&n_lines) {
        check.disagree(format!("{n_lines} lines begin with {start:?}, not {min} to {max}"));
    }
    texts(check, stdout, watcher.has, watcher.has_not);
}

/// Whether a line is the report of a retry that depends on timing.
fn depends_on_timing(log: &Log, line: &str) -> bool {
    let report: Value = serde_json::from_str(line).unwrap_or_default();
    let outcome = report["outcome"].as_str().unwrap_or_default();
    BY_TIMING.contains(&outcome) || outcome == NO_VICTIM && log.without_victim().next().is_some()
}
