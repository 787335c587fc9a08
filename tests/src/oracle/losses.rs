//! Checks scenarios in which details are lost: losses are reported, every kill has a report, later
//! reports are complete.

use serde_json::Value;

use super::check::Check;
use super::{Case, is_of, one_kill, victims};
use crate::kmsg::Log;
use crate::report;

/// Checks that a loss of details was reported, that every kill was reported and every reported kill
/// happened, and that the last report is complete.
pub(super) fn compare(check: &mut Check, case: Case<'_>, log: &Log, all: &[Value]) {
    let kills: Vec<Value> = all.iter().filter(|object| report::is_kill(object)).cloned().collect();
    let lost = all.iter().filter(|it| it["type"] == "loss" && it["stage"] == "ring");
    let n_lost: u64 = lost.filter_map(|record| record["count"].as_u64()).sum();
    check.equal("records were lost", n_lost > 0, true);
    let of_kills = all.iter().any(|record| record["stage"] == "kills");
    check.equal("kills were lost", of_kills, false);
    check.equal("gaps", all.iter().filter(|record| record["type"] == "gap").count(), 0);
    for kill in log.kills() {
        let mine = kills.iter().flat_map(victims).filter(|victim| is_of(victim, kill)).count();
        check.equal(&format!("reports of {} ({})", kill.tid, kill.comm), mine, 1);
    }
    for victim in kills.iter().flat_map(victims) {
        let is_real = log.kills().any(|kill| is_of(victim, kill));
        check.equal(&format!("{} was killed", victim["pid"]), is_real, true);
    }
    let last = log.blocks.iter().rev().find_map(|block| Some((block, block.kills.last()?)));
    match last {
        Some((block, kill)) => one_kill(check, case, &kills, kill, Some(block)),
        None => check.disagree("the kernel's log has no kill".to_owned()),
    }
}
