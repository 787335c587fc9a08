//! Checks scenarios in which attempts are made to harm the host. The guest has checked oomwhy after
//! each of them. Here the victims in reports are compared with the kernel's own lines.
//!
//! The log is hostile, too: anybody can write a record, and names in the kernel's records can have
//! newlines. So only the beginning of a record of the kernel counts.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::check::Check;
use super::{Account, victims};
use crate::attempts::{Attacker, Attempt, NO_FUSE, WITHOUT_FUSE};
use crate::report;
use crate::scenario::{Scenario, Step};
use crate::scenarios::hostile::BY_LOG_NAME;

/// A record of the kernel has facility 0, so its priority is less than this.
const PRIORITIES: u64 = 8;

/// Compares the reports of both oomwhys with the log, and the attempts with the scripts.
pub(super) fn compare(
    check: &mut Check,
    scenario: &Scenario,
    account: &Account<'_>,
    all: &[Value],
) {
    check.equal("lines that are not JSON", super::n_malformed(account.report), 0);
    let killed = killed(account.kmsg);
    same_victims(check, "oomwhy", all, &killed);
    match account.watchers.get(BY_LOG_NAME) {
        Some((stdout, exit)) => {
            let reports: Vec<Value> = report::objects(stdout).collect();
            check.equal("oomwhy that reads the log: exit code", exit.trim(), "0");
            same_victims(check, "oomwhy that reads the log", &reports, &killed);
        }
        None => check.disagree("the oomwhy that reads the log left nothing".to_owned()),
    }
    for step in scenario.steps {
        if let Step::Attempts(attacker) = step {
            made(check, account, *attacker);
        }
    }
}

/// Every script was run, and provoked a kill, or needs what this kernel does not have.
fn made(check: &mut Check, account: &Account<'_>, attacker: Attacker) {
    let scripts = attacker.scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile"));
    let made: Vec<String> = account.facts.attempts.iter().map(|it| it.name.clone()).collect();
    check.equal("attempts", made, scripts.unwrap_or_default());
    let release = &account.facts.kernel_release;
    for problem in account.facts.attempts.iter().filter_map(|attempt| problem(attempt, release)) {
        check.disagree(problem);
    }
}

fn problem(attempt: &Attempt, release: &str) -> Option<String> {
    match attempt.not_run.as_deref() {
        Some(NO_FUSE) if release.starts_with(WITHOUT_FUSE) => None,
        Some(why) => Some(format!("{} was not made: {why}", attempt.name)),
        None if attempt.n_kills == 0 => Some(format!("{} provoked no kill", attempt.name)),
        None => None,
    }
}

/// The process ids in the kernel's lines.
fn killed(kmsg: &str) -> BTreeSet<u64> {
    let pid = |line: &str| {
        let (prefix, text) = line.split_once(';')?;
        let priority: u64 = prefix.split(',').next()?.parse().ok()?;
        let (message, rest) = text.split_once(": Killed process ")?;
        let is_kernels = priority < PRIORITIES
            && ["Memory cgroup out of memory", "Out of memory"].contains(&message);
        rest.split(' ').next()?.parse().ok().filter(|_| is_kernels)
    };
    kmsg.lines().filter_map(pid).collect()
}

/// Each line has a victim, and each victim has a line. A process that was killed because it shares
/// the memory of the chosen one has none.
fn same_victims(check: &mut Check, who: &str, reports: &[Value], killed: &BTreeSet<u64>) {
    let (mut all, mut chosen) = (BTreeSet::new(), BTreeSet::new());
    for victim in reports.iter().filter(|report| report::is_kill(report)).flat_map(victims) {
        // The line names the thread that has the memory.
        let Some(thread) = victim["tid"].as_u64().or(victim["pid"].as_u64()) else { continue };
        all.insert(thread);
        if victim["chosen"] == true {
            chosen.insert(thread);
        }
    }
    let difference = |of: &BTreeSet<u64>, from: &BTreeSet<u64>| -> Vec<u64> {
        of.difference(from).copied().collect()
    };
    check.equal(&format!("{who}: kills without a report"), difference(killed, &all), Vec::new());
    check.equal(&format!("{who}: forged kills"), difference(&chosen, killed), Vec::new());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_beginning_of_a_record_of_the_kernel_counts() {
        let log = "6,1,1,-;Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB\n\
                   12,2,2,-;Memory cgroup out of memory: Killed process 8 (b) total-vm:1kB\n\
                   6,3,3,-;x[9]: in \\x0aMemory cgroup out of memory: Killed process 9 (c)\n\
                   6,4,4,-;tmpfs: Unknown parameter 'Out of memory: Killed process 10 (d)\n\
                   \x20SUBSYSTEM=x\n\
                   3,5,5,-;Out of memory: Killed process 11 (e) total-vm:1kB\n";
        assert_eq!(killed(log), [7, 11].into());
    }

    #[test]
    fn attempt_without_a_kill_is_accepted_only_where_the_kernel_has_no_fuse() {
        let found = |n_kills, not_run: Option<&str>, release| {
            let attempt =
                Attempt { name: "x".to_owned(), n_kills, not_run: not_run.map(str::to_owned) };
            problem(&attempt, release).is_some()
        };
        assert!(!found(1, None, "6.12.117") && found(0, None, "5.10.262"));
        assert!(!found(0, Some(NO_FUSE), "5.10.262") && found(0, Some(NO_FUSE), "6.12.117"));
        assert!(found(0, Some("other"), "5.10.262"));
    }

    #[test]
    fn missing_and_forged_kills_are_found() {
        let report = json!({"type": "oom", "outcome": "killed", "victims": [
            {"pid": 7, "chosen": true}, {"pid": 8, "tid": 9, "chosen": true}, {"pid": 10}]});
        let n_wrong = |killed: &[u64]| {
            let mut check = Check::default();
            let reports = [report.clone(), json!({"type": "loss"})];
            same_victims(&mut check, "x", &reports, &killed.iter().copied().collect());
            check.disagreements.len()
        };
        assert_eq!(n_wrong(&[7, 9]), 0);
        assert_eq!(n_wrong(&[7, 9, 10]), 0);
        assert_eq!((n_wrong(&[7, 9, 11]), n_wrong(&[7]), n_wrong(&[11])), (1, 1, 2));
    }
}
