//! Compares a forecast of `oomwhy risk` that used a growth recorder with the kill that followed, by
//! the points of the curve in the kill's report.

use serde_json::Value;

use super::check::{Check, number};
use super::victims;

/// The time between two points of the recorder, ns.
const POINT_NS: i64 = 1_000_000_000;
/// If two points are further apart than this, the hog did not run in between, ns. It charges more
/// often.
const HELD_UP_NS: i64 = 1_200_000_000;
/// The tolerance of times on a loaded host, ns.
const SLACK_NS: i64 = 500_000_000;
/// `MEMCG_CHARGE_BATCH` of each CPU, bytes.
const HELD_BACK: i64 = 2 * 64 * 4096;
/// The tolerance of the growth rate of a hog that sleeps between two MiB, percent.
const PACE_PERCENT: i64 = 20;
/// The tolerance of a function's charges, percent: page tables, and pages that CPUs hold back.
const BYTES_PERCENT: i64 = 10;
/// The tolerance of the growth of equal peaks, bytes per second. A huge page may stay for a while.
const LEVEL: i64 = 1 << 20;
/// The shortest accepted forecast for equal peaks, s.
const NOT_SOON_S: f64 = 5.0;
/// The function in which the hog allocates.
const FUNCTION: &str = "touch";

/// Compares one cgroup of a forecast. Its usage only grew until the kill, or went up and down.
pub(super) fn compare(check: &mut Check, forecast: &Value, risk: &Value, kills: &[Value]) {
    if risk["source"] != "recorder" {
        return;
    }
    let Some(kill) = kills.iter().find(|kill| kill["oom_memcg"]["path"] == risk["path"]) else {
        return;
    };
    if risk["growth_kind"] == "sawtooth" {
        return level_peaks(check, risk);
    }
    let at_ns = number(forecast, "boottime_ns");
    let left_ns = number(kill, "boottime_ns") - at_ns - held_up_ns(at_ns, kill);
    let left_bytes = number(&kill["oom_memcg"], "usage_bytes") - number(risk, "usage_bytes");
    check.equal("it was predicted before the kill", left_ns > POINT_NS, true);
    on_the_curve(check, at_ns, risk, kill);
    let pace = left_bytes * 1000 / (left_ns / 1_000_000).max(1);
    for key in ["growth_bytes_per_s", "usage_growth_bytes_per_s"] {
        check.near(key, number(risk, key), pace, pace * PACE_PERCENT / 100);
    }
    let own = number(&kill["growth"]["rate_bytes_per_s"], "last_minute");
    let predicted = number(risk, "growth_bytes_per_s");
    check.near("growth, beside the report's own", predicted, own, own * PACE_PERCENT / 100);
    in_time(check, &risk["time_to_limit"], left_ns);
    grows(check, risk, kill);
}

/// Checks the forecast of equal peaks: no growth, and the limit is not near.
fn level_peaks(check: &mut Check, risk: &Value) {
    check.near("growth of its peaks", number(risk, "growth_bytes_per_s"), 0, LEVEL);
    let soonest = risk["time_to_limit"]["earliest_s"].as_f64();
    let is_near = soonest.is_some_and(|seconds| seconds < NOT_SOON_S);
    check.equal(&format!("it is soon at the limit: {soonest:?}"), is_near, false);
}

/// The time in which the hog did not run after the forecast, which cannot be predicted.
fn held_up_ns(at_ns: i64, kill: &Value) -> i64 {
    let curve = kill["growth"]["curve"].as_array().into_iter().flatten();
    let after = curve.map(|point| number(point, "t_ns")).filter(|&t_ns| t_ns >= at_ns);
    let times: Vec<i64> = after.collect();
    times.windows(2).map(|pair| (pair[1] - pair[0] - HELD_UP_NS).max(0)).sum()
}

/// Checks that the usage of the forecast is between the points before and after it.
fn on_the_curve(check: &mut Check, at_ns: i64, risk: &Value, kill: &Value) {
    let curve = kill["growth"]["curve"].as_array().map(Vec::as_slice).unwrap_or_default();
    let behind = curve.partition_point(|point| number(point, "t_ns") < at_ns);
    let usage = number(risk, "usage_bytes");
    match (behind.checked_sub(1).and_then(|before| curve.get(before)), curve.get(behind)) {
        (Some(before), Some(after)) => {
            let [min, max] = [before, after].map(|point| number(point, "usage_bytes"));
            let is_between = (min - HELD_BACK..=max + HELD_BACK).contains(&usage);
            check.equal(&format!("{usage} is from {min} to {max}"), is_between, true);
        }
        _ => check.disagree(format!("the curve of {} points is not around it", curve.len())),
    }
}

/// Checks that the kill is in the predicted range, plus the time in which the hog did not run.
#[expect(clippy::cast_possible_truncation, reason = "seconds to one digit")]
fn in_time(check: &mut Check, forecast: &Value, left_ns: i64) {
    let seconds = |key: &str| forecast[key].as_f64().map(|seconds| (seconds * 1e9) as i64);
    match (seconds("earliest_s"), seconds("likely_s"), seconds("latest_s")) {
        (Some(earliest), Some(likely), Some(latest)) => {
            let range = earliest - SLACK_NS..=latest + SLACK_NS;
            let is_in = range.contains(&left_ns);
            check.equal(&format!("killed after {left_ns} ns, in {range:?}"), is_in, true);
            check.near("likely_s in ns", likely, left_ns, left_ns * PACE_PERCENT / 100);
        }
        _ => check.disagree(format!("the range is not known: {forecast}")),
    }
}

/// Checks that the killed process charged the most, in the function in which it allocates.
fn grows(check: &mut Check, risk: &Value, kill: &Value) {
    let first = &risk["growers"][0];
    let is_victim = victims(kill).any(|victim| victim["pid"] == first["pid"]);
    check.equal("the process that grew most was killed", is_victim, true);
    let frames = first["user_stack"].as_array().into_iter().flatten();
    let mut symbols = frames.filter_map(|frame| frame["symbol"].as_str());
    let is_named = symbols.any(|symbol| symbol.rsplit("::").next() == Some(FUNCTION));
    check.equal(&format!("{FUNCTION} is in {}", first["user_stack"]), is_named, true);
    let charged: i64 = risk["growers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|site| site["pid"] == first["pid"])
        .map(|site| number(site, "bytes"))
        .sum();
    let usage = number(risk, "usage_bytes");
    check.near("bytes that it charged", charged, usage, usage * BYTES_PERCENT / 100);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MIB: i64 = 1 << 20;

    /// Growth of 10 MiB per second to a limit of 60 MiB in second 6, predicted in second 3.
    fn case() -> (Value, Value, Value) {
        let point =
            |second: i64| json!({ "t_ns": second * POINT_NS, "usage_bytes": second * 10 * MIB });
        let curve: Vec<Value> = (0..=6).map(point).collect();
        let frames = [json!({ "symbol": "hog::memory::touch" })];
        let risk = json!({ "path": "/a", "source": "recorder", "usage_bytes": 30 * MIB,
            "growth_bytes_per_s": 10 * MIB, "usage_growth_bytes_per_s": 10 * MIB,
            "time_to_limit": { "likely_s": 3.0, "earliest_s": 2.9, "latest_s": 3.1 },
            "growers": [{ "pid": 7, "bytes": 30 * MIB, "user_stack": frames }] });
        let kill = json!({ "boottime_ns": 6 * POINT_NS, "victims": [{ "pid": 7 }],
            "oom_memcg": { "path": "/a", "usage_bytes": 60 * MIB },
            "growth": { "curve": curve, "rate_bytes_per_s": { "last_minute": 10 * MIB } } });
        (json!({ "boottime_ns": 3 * POINT_NS }), risk, kill)
    }

    fn disagreements(change: impl FnOnce(&mut Value, &mut Value, &mut Value)) -> usize {
        let (mut forecast, mut risk, mut kill) = case();
        change(&mut forecast, &mut risk, &mut kill);
        let mut check = Check::default();
        compare(&mut check, &forecast, &risk, &[kill]);
        check.disagreements.len()
    }

    #[test]
    fn forecast_that_came_true_agrees() {
        assert_eq!(disagreements(|_, _, _| ()), 0);
    }

    #[test]
    fn unforeseeable_delay_is_accepted() {
        let later = |_: &mut Value, _: &mut Value, kill: &mut Value| {
            kill["boottime_ns"] = json!(9 * POINT_NS);
            kill["growth"]["curve"][6]["t_ns"] = json!(9 * POINT_NS);
        };
        assert_eq!(disagreements(later), 0);
        // The points have no gap, so the hog ran all the time and grew more slowly.
        let slower = |_: &mut Value, _: &mut Value, kill: &mut Value| {
            let point = |tenths: i64, mib: i64| json!({ "t_ns": tenths * POINT_NS / 10, "usage_bytes": mib * MIB });
            kill["boottime_ns"] = json!(78 * POINT_NS / 10);
            kill["growth"]["curve"] =
                json!([point(30, 30), point(42, 37), point(54, 44), point(66, 51), point(78, 60)]);
        };
        assert_ne!(disagreements(slower), 0);
    }

    #[test]
    fn equal_peaks_have_no_growth() {
        let saw = |growth: i64, earliest: f64| {
            disagreements(|_, risk, _| {
                risk["growth_kind"] = json!("sawtooth");
                risk["growth_bytes_per_s"] = json!(growth);
                risk["time_to_limit"]["earliest_s"] = json!(earliest);
            })
        };
        assert_eq!([saw(-MIB / 2, 60.0), saw(4 * MIB, 60.0), saw(0, 0.4)], [0, 1, 1]);
    }

    #[test]
    fn forecast_that_failed_is_found() {
        assert_eq!(disagreements(|_, risk, _| risk["growth_bytes_per_s"] = json!(13 * MIB)), 2);
        assert_eq!(disagreements(|_, risk, _| risk["usage_bytes"] = json!(19 * MIB)), 4);
        assert_eq!(disagreements(|_, risk, _| risk["growers"][0]["pid"] = json!(8)), 1);
        assert_eq!(disagreements(|_, risk, _| risk["growers"][0]["user_stack"] = json!([])), 1);
        assert_eq!(disagreements(|_, risk, _| risk["growers"][0]["bytes"] = json!(20 * MIB)), 1);
        assert_eq!(disagreements(|_, risk, _| risk["time_to_limit"]["likely_s"] = json!(4.0)), 1);
        assert_eq!(disagreements(|_, risk, _| risk["time_to_limit"] = Value::Null), 1);
        let late = |_: &mut Value, risk: &mut Value, _: &mut Value| {
            risk["time_to_limit"]["earliest_s"] = json!(4.5);
        };
        assert_eq!(disagreements(late), 1);
    }
}
