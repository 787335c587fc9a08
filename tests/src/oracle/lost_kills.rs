//! Checks scenarios in which more processes are killed at once than the ring of kills has room for.
//! The report counts every kill, and gives the number of kills without a record.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::Check;
use super::{is_of, victims};
use crate::kmsg::Log;
use crate::report;

/// The number of kills that must have a record, even if no tracer reads.
const ALWAYS_KEPT: u64 = 4096;

/// Compares the counts of the only report and of the losses with the kernel's log.
pub(super) fn compare(check: &mut Check, log: &Log, all: &[Value]) {
    let n_killed = log.kills().count();
    let mut latest = BTreeMap::<&str, &Value>::new();
    for report in all.iter().filter(|object| report::is_kill(object)) {
        latest.insert(report["id"].as_str().unwrap_or_default(), report);
    }
    check.equal("reports of kills", latest.len(), 1);
    let Some(report) = latest.into_values().next() else {
        return;
    };
    check.equal("victims that are listed", victims(report).count(), report::MAX_LISTED_VICTIMS);
    check.field(report, "/victims_total", n_killed);
    let losses = all.iter().filter(|it| it["type"] == "loss" && it["stage"] == "kills");
    let losses: Vec<&Value> = losses.collect();
    // The first victim of a group is marked before any record is lost.
    let n_others = losses.iter().filter(|it| it["reason"] != "group_member").count();
    check.equal("lost kills of another reason than the group", n_others, 0);
    let n_lost: u64 = losses.iter().filter_map(|it| it["count"].as_u64()).sum();
    check.equal("kills were lost", n_lost > 0, true);
    let n_kept = (n_killed as u64).saturating_sub(n_lost);
    check.equal("there is room for 4,096 kills", n_kept >= ALWAYS_KEPT, true);
    // The tracer has counted the records that it got, the probes those that had no room.
    let missing = report["source"]["missing"].as_array().into_iter().flatten();
    let why = missing.filter(|it| it["field"] == "victims").find_map(|it| it["why"].as_str());
    let expected =
        format!("{n_lost} of {n_killed} records were lost: the buffer of kills was full");
    check.equal("why victims are missing", why.unwrap_or_default(), expected.as_str());
    let n_cut = report["truncated"].as_array().into_iter().flatten();
    let n_cut: Vec<&Value> = n_cut.filter(|it| it["field"] == "victims").collect();
    check.equal("the details of victims are cut", n_cut.len(), 1);
    compare_victims(check, log, report);
}

/// Checks that each victim was killed, and is in the report once.
fn compare_victims(check: &mut Check, log: &Log, report: &Value) {
    let killed: BTreeMap<i64, _> = log.kills().map(|kill| (i64::from(kill.tid), kill)).collect();
    let mut seen = BTreeMap::<i64, usize>::new();
    for victim in victims(report) {
        let id = if victim["tid"].is_null() { &victim["pid"] } else { &victim["tid"] };
        let id = id.as_i64().unwrap_or_default();
        *seen.entry(id).or_default() += 1;
        let is_real = killed.get(&id).is_some_and(|kill| is_of(victim, kill));
        check.equal(&format!("{} was killed", victim["pid"]), is_real, true);
    }
    check.equal("victims that are there twice", seen.values().filter(|n| **n > 1).count(), 0);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oracle::tests::log_of_kills;

    const N_KILLED: usize = 4100;

    fn log() -> Log {
        log_of_kills("busybox", N_KILLED)
    }

    /// The tracer has got `n_kept` of `total` records, and the probes have counted `n_lost`.
    fn records(n_kept: usize, n_lost: usize, total: usize) -> Vec<Value> {
        let listed = 1..=report::MAX_LISTED_VICTIMS;
        let victims: Vec<Value> =
            listed.map(|pid| json!({"pid": pid, "comm": "busybox"})).collect();
        let not_got = total - n_kept;
        let why = format!("{not_got} of {total} records were lost: the buffer of kills was full");
        vec![
            json!({"type": "loss", "stage": "ring", "count": 9000}),
            json!({"type": "loss", "stage": "kills", "reason": "group_member", "count": n_lost}),
            json!({"type": "oom", "id": "a", "outcome": "killed", "victims": victims,
                "victims_total": total, "truncated": [{"field": "victims"}],
                "source": {"missing": [{"field": "victims", "why": why}]}}),
        ]
    }

    fn n_disagreements(all: &[Value]) -> usize {
        let mut check = Check::default();
        compare(&mut check, &log(), all);
        check.disagreements.len()
    }

    #[test]
    fn exact_counts_agree() {
        assert_eq!(n_disagreements(&records(4097, 3, N_KILLED)), 0);
    }

    #[test]
    fn each_wrong_count_is_found() {
        // Too few have a record, or all have one.
        assert_eq!(n_disagreements(&records(4000, 100, N_KILLED)), 1);
        assert_eq!(n_disagreements(&records(N_KILLED, 0, N_KILLED)), 1);
        // The tracer misses more records than the probes have counted. The total is wrong, and the
        // reason with it.
        assert_eq!(n_disagreements(&records(4097, 2, N_KILLED)), 1);
        assert_eq!(n_disagreements(&records(4098, 3, N_KILLED + 1)), 2);
        // A loss without a reason, and one of another reason.
        for reason in [Value::Null, json!("marked")] {
            let mut all = records(4098, 2, N_KILLED);
            all[1]["reason"] = reason;
            assert_eq!(n_disagreements(&all), 1);
        }
        // A victim that was not killed, and one that is there twice.
        let mut all = records(4098, 2, N_KILLED);
        all[2]["victims"][254]["pid"] = json!(9999);
        all[2]["victims"][255]["pid"] = json!(1);
        assert_eq!(n_disagreements(&all), 2);
        // Not all that could be listed are.
        let mut all = records(4098, 2, N_KILLED);
        all[2]["victims"].as_array_mut().unwrap().pop();
        assert_eq!(n_disagreements(&all), 1);
    }
}
