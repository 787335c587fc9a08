//! Compares growth: each function of the workload must have the amount that it allocated.

use serde_json::Value;

use super::check::Check;
use crate::programs::allocating_functions;
use crate::scenario::Scenario;
use crate::workload::Work;

/// `MEMCG_CHARGE_BATCH`, bytes: a CPU charges this much at once and may not have used it yet.
const BATCH: i64 = 64 * 4096;
/// CPUs of a virtual machine.
const CPUS: i64 = 2;
/// Functions that allocate blocks from the heap.
const SMALL_BLOCKS: [&str; 3] = ["by_malloc", "by_new", "by_small_vecs"];
/// The tolerance of the profile, percent of the amount.
const OFF_BY_PERCENT: i64 = 5;

/// Growth that takes less time than this is a burst, ns.
const SHORT_NS: i64 = 10_000_000_000;

/// Compares the growth of each kill, if the scenario records growth.
pub(super) fn compare(check: &mut Check, scenario: &Scenario, kills: &[Value]) {
    if !scenario.options.contains(&"--growth") {
        return;
    }
    for report in kills {
        let victim = report["victims"][0]["comm"].as_str().unwrap_or_default();
        check.within(format!("growth of {victim}"));
        if is_refused(report) {
            check.leave();
            continue;
        }
        last_point(check, report);
        if scenario.options.contains(&"--pin") {
            check.equal("it is reported as read late", is_late(report), true);
        }
        kind(check, scenario, victim, report);
        if let Some((functions, mib)) = allocated(scenario, victim) {
            amounts(check, report, victim, functions, mib << 20);
        }
        check.leave();
    }
}

/// Whether growth is missing, and the report has the right reason.
fn is_refused(report: &Value) -> bool {
    let missing = report["source"]["missing"].as_array().into_iter().flatten();
    let why = missing.filter(|it| it["field"] == "growth").find_map(|it| it["why"].as_str());
    let is_global = report["constraint"] == "none";
    report["growth"].is_null()
        && why.is_some_and(|why| {
            if is_global { why.starts_with("the whole host") } else { why.starts_with("lockdown=") }
        })
}

/// Whether the report states that no tracer was running when the process was chosen.
fn is_late(report: &Value) -> bool {
    let missing = report["source"]["missing"].as_array().into_iter().flatten();
    let mut whys = missing.filter(|it| it["field"] == "growth.stacks");
    whys.any(|it| it["why"].as_str().is_some_and(|why| why.starts_with("the recorder was read ")))
}

/// Compares the shape. A process that pauses between two MiB grows steadily if it takes long
/// enough. A process that ends within seconds grows in a burst. Some workloads define another
/// shape.
fn kind(check: &mut Check, scenario: &Scenario, victim: &str, report: &Value) {
    let processes = scenario.processes();
    let Some(process) = processes.iter().find(|process| process.comm == victim) else { return };
    let curve = report["growth"]["curve"].as_array().map(Vec::as_slice).unwrap_or_default();
    let t_ns = |point: Option<&Value>| point.and_then(|it| it["t_ns"].as_i64()).unwrap_or_default();
    let span = t_ns(curve.last()) - t_ns(curve.first());
    let (kind, cause) = match (process.work, process.pause_ms) {
        (Work::Saw { .. }, _) => ("sawtooth", "peaks"),
        (Work::Jump { .. }, _) => ("plateau_then_jump", "burst"),
        (_, Some(_)) if span >= SHORT_NS => ("steady", "steady_growth"),
        // With 0% the recording starts with the process, so the curve rises from 0 to the limit.
        _ if scenario.options.contains(&"0%") && span < SHORT_NS => ("burst", "burst"),
        _ => return,
    };
    check.equal("its kind", report["growth"]["kind"].as_str().unwrap_or_default(), kind);
    check.equal("the cause", report["verdict"]["cause"].as_str().unwrap_or_default(), cause);
    match process.work {
        Work::Saw { mib, times } => {
            check.equal("it releases all", has_evidence(report, "usage comes down again"), true);
            // After the last peak the usage may fall and reach the limit between two points.
            let falls = falls(curve, bytes(mib));
            let is_seen = falls == times || falls + 1 == times;
            check.equal(&format!("it came down {times} times, here {falls}"), is_seen, true);
        }
        Work::Jump { mib, .. } => {
            // The points before the jump are in the first half of the time.
            let half = t_ns(curve.first()) + span / 2;
            let early = curve.iter().take_while(|point| t_ns(Some(point)) < half);
            let level = early.filter_map(|point| point["usage_bytes"].as_i64()).max();
            check.near("its level", level.unwrap_or_default(), bytes(mib), bytes(1));
        }
        _ => {}
    }
}

fn bytes(mib: usize) -> i64 {
    i64::try_from(mib << 20).unwrap_or(i64::MAX)
}

/// The number of times that usage fell from a peak of this size to almost nothing. A huge page may
/// stay for a while.
fn falls(curve: &[Value], peak: i64) -> usize {
    let (mut is_up, mut falls) = (false, 0);
    for usage in curve.iter().filter_map(|point| point["usage_bytes"].as_i64()) {
        if usage >= peak * 9 / 10 {
            is_up = true;
        } else if is_up && usage <= peak / 4 {
            (is_up, falls) = (false, falls + 1);
        }
    }
    falls
}

/// Whether the evidence of the verdict contains a text.
fn has_evidence(report: &Value, what: &str) -> bool {
    let evidence = report["verdict"]["evidence"].as_array().into_iter().flatten();
    evidence.filter_map(Value::as_str).any(|line| line.starts_with(what))
}

/// Checks that the curve ends at the usage that hit the limit.
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

/// The test program that is written in Python.
const PYTHON: &str = "py-alloc";
/// Its functions that allocate in a child.
const IN_CHILD: [&str; 2] = ["copy_on_write", "in_child"];

/// The functions in which a process allocates, and the amount of each, MiB.
fn allocated(scenario: &Scenario, comm: &str) -> Option<(&'static [&'static str], i64)> {
    let process = scenario.processes().into_iter().find(|process| process.comm == comm)?;
    let Work::Become { mib, .. } = process.work else { return None };
    Some((allocating_functions(comm)?, i64::try_from(mib).ok()?))
}

/// Compares the amounts of the victim and of its children, which have its name.
fn amounts(check: &mut Check, report: &Value, victim: &str, functions: &[&str], bytes: i64) {
    let mut stacks = report["growth"]["stacks"].as_array().cloned().unwrap_or_default();
    stacks.retain(|stack| stack["comm"] == victim);
    let unnamed: Vec<&Value> =
        stacks.iter().filter(|stack| is_unnamed_child(stack, report)).collect();
    let is_child_unnamed = !unnamed.is_empty();
    if is_child_unnamed {
        // Its amounts are reported all the same: that of one function at least.
        let found: i64 = unnamed.iter().filter_map(|stack| stack["bytes"].as_i64()).sum();
        let least = bytes - bytes * OFF_BY_PERCENT / 100;
        check.equal(
            &format!("the child has {least} bytes or more, here {found}"),
            found >= least,
            true,
        );
    }
    for function in functions {
        if is_child_unnamed && IN_CHILD.contains(function) {
            continue;
        }
        let of_it =
            stacks.iter().filter(|stack| names(stack, function) || is_mallocs(stack, function));
        let found: i64 = of_it.filter_map(|stack| stack["bytes"].as_i64()).sum();
        check.near(&format!("bytes of {function}"), found, bytes, bytes * OFF_BY_PERCENT / 100);
    }
}

/// Whether a child of the victim has a frame that is only an address: a function of Python, whose
/// perf map could not be read before the child was gone. Then the amounts of its functions are
/// not known.
fn is_unnamed_child(stack: &Value, report: &Value) -> bool {
    let frames = stack["user_stack"].as_array().into_iter().flatten();
    stack["comm"] == PYTHON
        && stack["pid"] != report["victims"][0]["pid"]
        && frames.into_iter().any(|frame| frame["symbol"].is_null() && frame["build_id"].is_null())
}

/// Whether the innermost frame is in malloc, which writes between small blocks and has no frame
/// pointers, so its caller is not in the stack.
fn is_mallocs(stack: &Value, function: &str) -> bool {
    let innermost = stack["user_stack"][0]["symbol"].as_str().unwrap_or_default();
    SMALL_BLOCKS.contains(&function) && innermost.contains("malloc")
}

/// Whether the function is one of the frames.
fn names(stack: &Value, function: &str) -> bool {
    let frames = stack["user_stack"].as_array().into_iter().flatten();
    frames.filter_map(|frame| frame["symbol"].as_str()).any(|symbol| short(symbol) == function)
}

/// Shortens a symbol: `by_template` of `void alloc_fixed::by_template<double>(unsigned long)`,
/// `by_small` of `py::by_small:/programs/alloc_fixed.py`.
fn short(symbol: &str) -> &str {
    if let Some(python) = symbol.strip_prefix("py::") {
        return python.split(':').next().unwrap_or_default();
    }
    let name = symbol.split(['(', '<']).next().unwrap_or_default();
    name.rsplit("::").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scenarios;

    fn disagreements(stacks: &Value) -> Vec<String> {
        let mut check = Check::default();
        let report = json!({ "growth": { "stacks": stacks } });
        amounts(&mut check, &report, "c-alloc", allocating_functions("c-alloc").unwrap(), 100);
        check.disagreements
    }

    #[test]
    fn function_with_wrong_amount_is_found() {
        let stack = |function: &str, bytes| {
            let symbol = format!("alloc_fixed::{function}(int)");
            json!({ "comm": "c-alloc", "bytes": bytes,
                "user_stack": [{ "symbol": "touch" }, { "symbol": symbol }] })
        };
        let functions = allocating_functions("c-alloc").unwrap();
        let mut stacks: Vec<Value> = functions.iter().map(|name| stack(name, 104)).collect();
        assert!(disagreements(&json!(stacks)).is_empty());
        stacks[0]["bytes"] = json!(106);
        stacks[1]["comm"] = json!("other");
        stacks.pop();
        assert_eq!(disagreements(&json!(stacks)).len(), 3);
    }

    #[test]
    fn only_full_falls_are_counted() {
        let curve = |usages: &[i64]| {
            usages.iter().map(|usage| json!({ "usage_bytes": usage })).collect::<Vec<_>>()
        };
        assert_eq!(falls(&curve(&[0, 50, 100, 5, 90, 40, 25, 60, 3]), 100), 2);
        assert_eq!(falls(&curve(&[0, 89, 5, 100, 26]), 100), 0);
    }

    #[test]
    fn function_of_any_language_has_short_name() {
        for (symbol, name) in [
            ("by_malloc", "by_malloc"),
            ("alloc_fixed::on_stack", "on_stack"),
            ("py::by_small:/programs/alloc_fixed.py", "by_small"),
            ("py::<module>:/programs/alloc_fixed.py", "<module>"),
            ("py::kept.<locals>.by_any:/opt/a::b.py", "kept.<locals>.by_any"),
            ("alloc_fixed::Worker::in_method() const", "in_method"),
            ("void alloc_fixed::by_template<double>(unsigned long)", "by_template"),
        ] {
            assert_eq!(short(symbol), name);
        }
    }

    #[test]
    fn missing_growth_needs_the_right_reason() {
        let refused = |constraint: &str, why: &str| {
            is_refused(&json!({ "constraint": constraint,
                "source": { "missing": [{ "field": "growth", "why": why }] } }))
        };
        assert!(refused("none", "the whole host ran out of memory"));
        assert!(refused("memcg", "lockdown=confidentiality: unreadable"));
        assert!(!refused("memcg", "the whole host ran out of memory"));
        assert!(!refused("memcg", "nothing was charged"));
        assert!(!is_refused(&json!({ "constraint": "none" })));
    }

    #[test]
    fn leak_is_steady_and_short_growth_is_burst() {
        let find = |name| scenarios::all().find(|scenario| scenario.name == name).unwrap();
        let (shapes, allocations) = (find("shapes"), find("alloc_fixed"));
        let disagreements = |scenario, comm: &str, kind: &str, seconds: i64| {
            let t_ns = seconds * 1_000_000_000;
            let cause = if kind == "steady" { "steady_growth" } else { kind };
            let report = json!({ "verdict": { "cause": cause }, "growth": { "kind": kind,
                "curve": [{ "t_ns": 1 }, { "t_ns": 1 + t_ns }] } });
            let mut check = Check::default();
            super::kind(&mut check, scenario, comm, &report);
            check.disagreements.len()
        };
        assert_eq!(disagreements(shapes, "leak", "steady", 12), 0);
        assert_eq!(disagreements(shapes, "leak", "burst", 12), 2);
        assert_eq!(disagreements(allocations, "c-alloc", "burst", 3), 0);
        assert_eq!(disagreements(allocations, "c-alloc", "unknown", 3), 2);
        assert_eq!(disagreements(allocations, "c-alloc", "steady", 12), 0);
    }
}
