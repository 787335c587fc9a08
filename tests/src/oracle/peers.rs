//! Checks scenarios in which other tracers are attached to the same functions. oomwhy traces during
//! the first and the last third of the kills. The others trace all the time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::Check;
use super::{Case, is_of, one_kill, victims};
use crate::kmsg::Log;
use crate::scenario::Step;

/// Compares the reports with the kernel's log, and the other tracers' lines with the scenario.
pub(super) fn compare(
    check: &mut Check,
    case: Case<'_>,
    log: &Log,
    reports: &[Value],
    outputs: &BTreeMap<String, (String, String)>,
) {
    check.equal("kills without a printed report", log.bare_kills.len(), 0);
    untraced(check, log, reports);
    let printed = log.blocks.iter().flat_map(|block| block.kills.iter().map(move |it| (block, it)));
    let n_kills = log.kills().count();
    for (_, (block, kill)) in printed.enumerate().filter(|(index, _)| is_traced(*index, n_kills)) {
        one_kill(check, case, reports, kill, Some(block));
    }
    for step in case.scenario.steps {
        let Step::Peer(peer) = step else { continue };
        check.within(format!("peer {}", peer.name));
        match outputs.get(peer.name) {
            Some((output, _)) => peer.wrong_lines(output).into_iter().for_each(|wrong| {
                check.disagree(format!("{wrong}; its output: {}", output.trim_end()));
            }),
            // The guest says that it does not have it.
            None => check.equal("reasons why it did not run", case.facts.not_run.len(), 1),
        }
        check.leave();
    }
}

/// Whether oomwhy traces at this kill.
fn is_traced(index: usize, n_kills: usize) -> bool {
    index < n_kills / 3 || index >= 2 * n_kills / 3
}

/// Checks that the kills of the second third have no report.
fn untraced(check: &mut Check, log: &Log, reports: &[Value]) {
    let n_kills = log.kills().count();
    for (_, kill) in log.kills().enumerate().filter(|(index, _)| !is_traced(*index, n_kills)) {
        let n_reports = reports.iter().flat_map(victims).filter(|it| is_of(it, kill)).count();
        check.equal(&format!("reports of {}, untraced", kill.tid), n_reports, 0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::Facts;
    use crate::oracle::tests::log_of_kills;
    use crate::scenarios;

    fn log() -> Log {
        log_of_kills("hog", 9)
    }

    #[test]
    fn report_of_untraced_kill_is_wrong() {
        let report = |pid| json!({"victims": [{"pid": pid, "comm": "hog"}]});
        let n_wrong = |pids: &[u32]| {
            let reports: Vec<Value> = pids.iter().map(|&pid| report(pid)).collect();
            let mut check = Check::default();
            untraced(&mut check, &log(), &reports);
            check.disagreements.len()
        };
        assert_eq!(n_wrong(&[1, 2, 3, 7, 8, 9]), 0);
        assert_eq!(n_wrong(&[3, 4, 6, 7]), 2);
    }

    #[test]
    fn peer_that_missed_a_kill_is_wrong_and_absent_peer_needs_a_reason() {
        let scenario = scenarios::find("bpftrace").unwrap();
        let about_peer = |facts: &Facts, output: Option<String>| {
            let mut check = Check::default();
            let outputs = output.map(|it| ("bpftrace".to_owned(), (it, String::new())));
            let outputs = BTreeMap::from_iter(outputs);
            compare(&mut check, Case { scenario, facts }, &log(), &[], &outputs);
            check.disagreements.iter().filter(|it| it.contains("peer bpftrace")).count()
        };
        let lines = |n_choices: usize| {
            let of = |how: &str| {
                let entry = format!("{how} out_of_memory\n").repeat(10);
                entry + &format!("{how} oom_kill_process\n").repeat(n_choices)
            };
            Some(of("kprobe") + &of("fentry"))
        };
        let ran = Facts::default();
        assert_eq!(about_peer(&ran, lines(9)), 0);
        assert_eq!(about_peer(&ran, lines(8)), 2);
        assert_eq!(about_peer(&ran, None), 1);
        let absent = Facts { not_run: vec!["no bpftrace".to_owned()], ..Facts::default() };
        assert_eq!(about_peer(&absent, None), 0);
    }
}
