//! What the other formats and the filters make of the same kills.

use std::collections::BTreeMap;

use super::check::Check;
use crate::scenario::{Scenario, Watcher};

/// Each watcher ended well and printed what it shall.
pub(super) fn judge(
    check: &mut Check,
    scenario: &Scenario,
    outputs: &BTreeMap<String, (String, String)>,
) {
    for step in scenario.steps {
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

fn one(check: &mut Check, watcher: &Watcher, stdout: &str, exit: &str) {
    check.equal("exit code", exit.trim(), "0");
    let (start, least, most) = watcher.lines;
    let n_lines = stdout.lines().filter(|line| line.starts_with(start)).count();
    if !(least..=most).contains(&n_lines) {
        check.disagree(format!("{n_lines} lines begin with {start:?}, not {least} to {most}"));
    }
    for text in watcher.has {
        check.equal(&format!("it has {text:?}"), stdout.contains(text), true);
    }
    for text in watcher.lacks {
        check.equal(&format!("it has {text:?}"), stdout.contains(text), false);
    }
}
