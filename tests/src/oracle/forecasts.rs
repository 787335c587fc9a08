//! Compares the forecast of `oomwhy risk` with the kill that followed: the victim, and its points
//! except for the memory that it allocated in between.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::{Check, number};
use super::memory::{HELD_BACK_PAGES, PAGE_BYTES, candidates};
use super::{recorded, victims};
use crate::report;

/// /proc and the kernel's sum read approximate values of the same four counters, three of memory
/// and one of swap. The page tables grow with the memory, by far less.
const POINTS_TOLERANCE: i64 = 4 * HELD_BACK_PAGES;

/// Checks that a later kill is in the cgroup of each forecast.
pub(super) fn compare(
    check: &mut Check,
    outputs: &BTreeMap<String, (String, String)>,
    kills: &[Value],
) {
    for (name, (stdout, _)) in outputs {
        let forecasts = report::objects(stdout).filter(|object| object["type"] == "risk");
        for forecast in forecasts {
            check.within(format!("forecast {name}"));
            for risk in forecast["cgroups"].as_array().into_iter().flatten() {
                one(check, risk, kills);
                recorded::compare(check, &forecast, risk, kills);
            }
            check.leave();
        }
    }
}

fn one(check: &mut Check, risk: &Value, kills: &[Value]) {
    let Some(kill) = kills.iter().find(|kill| kill["oom_memcg"]["path"] == risk["path"]) else {
        check.disagree(format!("no process was killed by the limit of {}", risk["path"]));
        return;
    };
    let predicted = &risk["next_victim"];
    check.equal("its limit", &risk["limit_bytes"], &kill["oom_memcg"]["max_bytes"]);
    let is_victim = victims(kill).any(|victim| victim["pid"] == predicted["pid"]);
    check.equal("the predicted victim was killed", is_victim, true);
    match candidates(kill).find(|candidate| candidate["pid"] == predicted["pid"]) {
        Some(row) => {
            let points = number(predicted, "points") - number(predicted, "rss_bytes") / PAGE_BYTES;
            let rss = ["anon_pages", "file_pages", "shmem_pages"].iter();
            let kernel = number(row, "points") - rss.map(|part| number(row, part)).sum::<i64>();
            check.near("its points without resident pages", points, kernel, POINTS_TOLERANCE);
        }
        None => check.disagree("the predicted victim is no candidate".to_owned()),
    }
}
