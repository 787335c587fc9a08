//! What grew: the amounts are those that the workload took, in the functions in which it took them.

use serde_json::Value;

use super::check::Check;
use crate::scenario::{Scenario, Step};
use crate::workload::{GROWING, Work};

/// `MEMCG_CHARGE_BATCH`: what a CPU charges at once and may not have used yet. Bytes.
const BATCH: i64 = 64 * 4096;
/// CPUs of a virtual machine.
const CPUS: i64 = 2;
/// Share of the amount by which the profile may be off, percent.
const OFF_BY_PERCENT: i64 = 5;

/// Where growth was recorded.
pub(super) fn judge(check: &mut Check, scenario: &Scenario, kills: &[Value]) {
    if !scenario.options.contains(&"--growth") {
        return;
    }
    for report in kills {
        last_point(check, report);
        if let Some(mib) = amount(scenario) {
            amounts(check, report, mib << 20);
        }
    }
}

/// The curve ends where the limit was hit.
fn last_point(check: &mut Check, report: &Value) {
    let last = report["growth"]["curve"].as_array().and_then(|curve| curve.last());
    let usage = |value: &Value, name: &str| value[name].as_i64();
    match (last.and_then(|it| usage(it, "usage_bytes")), usage(&report["oom_memcg"], "usage_bytes"))
    {
        (Some(last), Some(usage)) => {
            check.near("last point of the curve", last, usage, BATCH * CPUS);
        }
        (last, usage) => check.disagree(format!("last point {last:?}, usage {usage:?}")),
    }
}

fn amount(scenario: &Scenario) -> Option<i64> {
    scenario.steps.iter().find_map(|step| match step {
        Step::Start { process, .. } => match process.work {
            Work::Grow { mib } => i64::try_from(mib).ok(),
            _ => None,
        },
        _ => None,
    })
}

fn amounts(check: &mut Check, report: &Value, bytes: i64) {
    let stacks = report["growth"]["stacks"].as_array().cloned().unwrap_or_default();
    for function in GROWING {
        let of_it =
            stacks.iter().filter(|stack| names(stack, function) || is_mallocs(stack, function));
        let found: i64 = of_it.filter_map(|stack| stack["bytes"].as_i64()).sum();
        check.near(&format!("bytes of {function}"), found, bytes, bytes * OFF_BY_PERCENT / 100);
    }
}

/// malloc writes between small blocks, and has no frame pointers: who called it is not seen.
fn is_mallocs(stack: &Value, function: &str) -> bool {
    let innermost = stack["user_stack"][0]["symbol"].as_str().unwrap_or_default();
    function == "grow_small_blocks" && innermost.contains("malloc")
}

/// Whether the function is one of the frames.
fn names(stack: &Value, function: &str) -> bool {
    let frames = stack["user_stack"].as_array().into_iter().flatten();
    frames
        .filter_map(|frame| frame["symbol"].as_str())
        .any(|symbol| symbol.rsplit("::").next() == Some(function))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn disagreements(stacks: &Value) -> Vec<String> {
        let mut check = Check::default();
        amounts(&mut check, &json!({ "growth": { "stacks": stacks } }), 100);
        check.disagreements
    }

    #[test]
    fn each_function_must_have_its_amount() {
        let stack = |function: &str, bytes| {
            let symbol = format!("guest_init::hog::grow::{function}");
            json!({ "bytes": bytes, "user_stack": [{ "symbol": "touch" }, { "symbol": symbol }] })
        };
        let mut stacks: Vec<Value> = GROWING.iter().map(|name| stack(name, 104)).collect();
        assert!(disagreements(&json!(stacks)).is_empty());
        stacks[0]["bytes"] = json!(106);
        stacks.pop();
        assert_eq!(disagreements(&json!(stacks)).len(), 2);
    }
}
