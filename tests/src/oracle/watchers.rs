//! What the other formats and the filters make of the same kills.

use std::collections::BTreeMap;

use super::check::Check;
use crate::scenario::{Launched, Scenario, Step, Watcher};

/// Each watcher ended well and printed what it shall.
pub(super) fn compare(
    check: &mut Check,
    scenario: &Scenario,
    outputs: &BTreeMap<String, (String, String)>,
) {
    for step in scenario.steps {
        if let Step::Launch(run) = step {
            check.within(format!("program {}", run.name));
            match outputs.get(run.name) {
                Some((said, exit)) => ran(check, run, said, exit),
                None => check.disagree("it left nothing".to_owned()),
            }
            check.leave();
        }
        if let Some(watcher) = step.watcher() {
            check.within(format!("watcher {}", watcher.name));
            match outputs.get(watcher.name) {
                Some((stdout, exit)) => one(check, watcher, stdout, exit),
                None => check.disagree("it left nothing".to_owned()),
            }
            check.leave();
        }
    }
}

fn ran(check: &mut Check, run: &Launched, said: &str, exit: &str) {
    check.equal("exit code", exit.trim(), run.exit);
    if let Some(lines) = run.lines {
        check.equal("lines", said.lines().count(), lines);
    }
    has_and_lacks(check, said, run.has, run.lacks);
}

fn has_and_lacks(check: &mut Check, said: &str, has: &[&str], lacks: &[&str]) {
    let before = check.disagreements.len();
    for (texts, wanted) in [(has, true), (lacks, false)] {
        for text in texts {
            check.equal(&format!("it has {text:?}"), said.contains(text), wanted);
        }
    }
    if check.disagreements.len() > before {
        check.disagree(format!("it said: {}", said.trim_end()));
    }
}

fn one(check: &mut Check, watcher: &Watcher, stdout: &str, exit: &str) {
    check.equal("exit code", exit.trim(), "0");
    let (start, least, most) = watcher.lines;
    let n_lines = stdout.lines().filter(|line| line.starts_with(start)).count();
    if !(least..=most).contains(&n_lines) {
        check.disagree(format!("{n_lines} lines begin with {start:?}, not {least} to {most}"));
    }
    has_and_lacks(check, stdout, watcher.has, watcher.lacks);
}
