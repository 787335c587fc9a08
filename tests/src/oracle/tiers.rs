//! Compares the reports of two tiers on the same kill. The values are equal, values beyond the tier
//! are absent, and `source.missing` names every other absent value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Case;
use super::check::Check;
use super::memory::{PAGE_BYTES, held_back_by_task};
use crate::facts::Facts;
use crate::report;
use crate::scenario::{Step, WatcherTier};

/// Values that depend on the moment or on the tracer itself.
const NOT_COMPARED: &[&str] = &[
    "id",
    // A tier that sees no end of a victim reports it once.
    "revision",
    "time",
    "boottime_ns",
    "system",
    // Each tracer reads the offset of its clock once, when it starts.
    "victims.start_time",
    "victims.age_ns",
    "trigger.start_time",
    "trigger.age_ns",
    "victims.marked_at_ns",
    "victims.exited_after_ns",
    "victims.freed_after_ns",
    "victims.freed_bytes",
    "victims.reaped",
];

/// Values that are not compared and that only one of the two reports may have.
const OPTIONAL: &[&str] = &[
    "source",
    // The stack is compared by its symbols.
    "trigger.kernel_stack",
    // Each tracer looks symbols up at another time.
    "trigger.user_stack.symbol",
    "trigger.user_stack.offset",
    "trigger.user_stack.file",
    // The kernel looks up files for one tracer at a time per CPU. The other one has addresses.
    "victims.user_stack",
    // The verdict is derived from the other values.
    "verdict",
    "fingerprint",
];

/// Values that a tier does not have if it sees victims only.
const BEYOND_TRACEPOINT: &[&str] = &[
    "reason",
    "constraint",
    "message",
    "totalpages",
    "nodemask",
    "mems_allowed",
    "oom_memcg",
    "limit_chain",
    "candidates",
    "system",
    "trigger.gfp_mask",
    "trigger.order",
    "victims.points",
    "victims.exited_after_ns",
    "victims.freed_after_ns",
    "victims.freed_bytes",
    "victims.reaped",
];

/// Memory that a process released or allocated before /proc is read, bytes.
const LATER_BYTES: u64 = 2 << 20;

/// The part of a counter that two CPUs hold back, bytes.
const STOCK_BYTES: u64 = 2 * 64 * 4096;

/// Compares the reports of each watcher that stands for a tier.
pub(super) fn compare(
    check: &mut Check,
    case: Case<'_>,
    kills: &[Value],
    outputs: &BTreeMap<String, (String, String)>,
) {
    for step in case.scenario.steps {
        if let Step::Watch(watcher) = step
            && let (Some(attach), Some((stdout, _))) = (watcher.attach, outputs.get(watcher.name))
        {
            check.within(format!("tier {}", attach.name()));
            one(check, attach, case.facts, kills, stdout);
            check.leave();
        }
    }
}

fn one(check: &mut Check, attach: WatcherTier, facts: &Facts, kills: &[Value], stdout: &str) {
    let all: Vec<Value> = report::objects(stdout).collect();
    let others: Vec<&Value> = all.iter().filter(|object| report::is_kill(object)).collect();
    check.equal("reports of kills", others.len(), kills.len());
    let n_gaps = all.iter().filter(|object| object["type"] == "gap").count();
    check.equal("gaps", n_gaps, 0);
    // The kills are there, but what the skipped kprobes read is not.
    if attach.tier() == "kprobe" && all.iter().any(is_skipped_invocation) {
        let pids: BTreeSet<i64> = kills.iter().flat_map(pids_of_victims).collect();
        let found: BTreeSet<i64> = others.into_iter().flat_map(pids_of_victims).collect();
        check.equal("victims", found, pids);
        return;
    }
    for kill in kills {
        let victim = &kill["victims"][0]["pid"];
        match others.iter().find(|other| other["victims"][0]["pid"] == *victim) {
            Some(other) => two_reports(check, attach, facts, kill, other),
            None => check.disagree(format!("no report of victim {victim}")),
        }
    }
}

/// Whether the kernel skipped a kprobe of the invocation itself, and oomwhy reports that. The
/// kernel runs no kprobe on a CPU on which a task changes a BPF map, even if that task was
/// preempted (`bpf_disable_instrumentation`).
fn is_skipped_invocation(object: &Value) -> bool {
    const OF_INVOCATION: [&str; 3] =
        ["kprobe_out_of_memory", "kprobe_mem_cgroup_out_of_memory", "kprobe_oom_kill_process"];
    object["type"] == "loss"
        && object["stage"] == "probe"
        && object["name"].as_str().is_some_and(|name| OF_INVOCATION.contains(&name))
}

fn pids_of_victims(kill: &Value) -> impl Iterator<Item = i64> {
    super::victims(kill).filter_map(|victim| victim["pid"].as_i64())
}

fn two_reports(
    check: &mut Check,
    attach: WatcherTier,
    facts: &Facts,
    first: &Value,
    other: &Value,
) {
    check.equal("source.tier", &other["source"]["tier"], &attach.tier().into());
    let (mut found, mut known) = (stack(other), stack(first));
    let n_frames = before_kretprobe(&found).min(before_kretprobe(&known));
    found.truncate(n_frames);
    known.truncate(n_frames);
    check.equal("kernel stack", found, known);
    let others = leaves(other);
    let known = leaves(first);
    // An exit on another CPU can precede the mark. Each tracer may see it or not.
    let early: &[&str] =
        if facts.exit_precedes_release() { &["victims.exited_after_ns"] } else { &[] };
    let is_optional = |path: &str| is_in(path, OPTIONAL) || is_in(path, early);
    for (path, value) in known.iter().filter(|(path, _)| !is_optional(path)) {
        let Some(found) = others.get(path) else {
            if !is_named(other, path) {
                check.disagree(format!("{path} is absent, and source.missing has no reason"));
            }
            continue;
        };
        // The report always has this key. source.missing marks it as unknown.
        if plain(path) == "victims.chosen" && is_named(other, path) {
            continue;
        }
        if is_beyond(attach, path) {
            check.disagree(format!("{path} is {found}: it is beyond this tier"));
        } else if !is_in(path, NOT_COMPARED) && !agrees(attach, facts, path, value, found, first) {
            check.disagree(format!("{path} is {found}; the fentry tier has {value}"));
        }
    }
    for (path, found) in others.iter().filter(|(path, _)| !known.contains_key(*path)) {
        // The kernel did not look up the file, so the report has an address instead.
        let is_instead = plain(path) == "trigger.user_stack.ip"
            && is_named(other, "trigger.user_stack.build_id");
        // The first report does not have this value, e.g. because of an exit before the mark.
        if !(is_instead || is_in(path, NOT_COMPARED) || is_in(path, OPTIONAL)) {
            check.disagree(format!("{path} is {found}; the fentry tier has none"));
        }
    }
}

/// The stack from the OOM killer's entry on. The frames before depend on the probe.
fn stack(report: &Value) -> Vec<&str> {
    let frames = report["trigger"]["kernel_stack"].as_array().into_iter().flatten();
    let symbols = frames.map(|frame| frame["symbol"].as_str().unwrap_or("?"));
    symbols.skip_while(|symbol| !symbol.starts_with("out_of_memory")).collect()
}

/// The frames before the trampoline of somebody else's kretprobe: 5.10 unwinds no further.
/// `usize::MAX` if there is none.
fn before_kretprobe(stack: &[&str]) -> usize {
    stack.iter().position(|symbol| *symbol == "kretprobe_trampoline").unwrap_or(usize::MAX)
}

fn agrees(
    attach: WatcherTier,
    facts: &Facts,
    path: &str,
    value: &Value,
    found: &Value,
    first: &Value,
) -> bool {
    if value == found {
        return true;
    }
    let (Some(value), Some(found)) = (value.as_u64(), found.as_u64()) else {
        return false;
    };
    let key = plain(path);
    let tolerance = match attach.tier() {
        "tracepoint" if key.ends_with("_bytes") => LATER_BYTES,
        // Between the two readings, another CPU can add what it holds back.
        _ if key.ends_with("usage_bytes") || key.starts_with("oom_memcg.stat.") => STOCK_BYTES,
        // SIGKILL precedes the mark, so on another CPU the victim may already exit and add up.
        _ if key.ends_with("rss_bytes") && facts.tasks_hold_back_rss() => {
            let part = key.rsplit('.').next().unwrap_or_default();
            (held_back_by_task(part) * PAGE_BYTES).unsigned_abs()
        }
        // The tracers run between the two readings.
        _ if is_of_tracer(path, first) => u64::MAX,
        _ => 0,
    };
    value.abs_diff(found) <= tolerance
}

/// Whether the value belongs to a candidate that is an oomwhy.
fn is_of_tracer(path: &str, first: &Value) -> bool {
    let pid = path.strip_prefix("candidates.list[").and_then(|rest| rest.split(']').next());
    let rows = first["candidates"]["list"].as_array().into_iter().flatten();
    let pid = pid.and_then(|pid| pid.parse::<i64>().ok());
    let mut rows = rows.filter(|row| pid.is_some() && row["pid"].as_i64() == pid);
    rows.any(|row| row["comm"].as_str().is_some_and(|comm| comm.starts_with("oomwhy")))
}

fn is_beyond(attach: WatcherTier, path: &str) -> bool {
    attach.tier() == "tracepoint" && is_in(path, BEYOND_TRACEPOINT)
}

/// Whether `source.missing` names the field, or an object that contains it.
fn is_named(report: &Value, path: &str) -> bool {
    let missing = report["source"]["missing"].as_array().into_iter().flatten();
    let fields: Vec<&str> = missing.filter_map(|entry| entry["field"].as_str()).collect();
    is_in(path, &fields)
}

fn is_in(path: &str, fields: &[&str]) -> bool {
    let path = plain(path);
    fields.iter().any(|field| {
        path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// A path without the keys of lists.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('[') {
        plain.push_str(before);
        rest = behind.split_once(']').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Every value by its path. The path of a list entry has its process, or else its index.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(String::new(), value, &mut found);
    found
}

fn collect(path: String, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                collect(format!("{path}{dot}{name}"), value, found);
            }
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                let key = if entry["pid"].is_i64() {
                    entry["pid"].to_string()
                } else {
                    index.to_string()
                };
                collect(format!("{path}[{key}]"), entry, found);
            }
        }
        plain => {
            found.insert(path, plain.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first() -> Value {
        json!({
            "type": "oom", "outcome": "killed", "totalpages": 12,
            "source": {"tier": "fentry"},
            "trigger": {"comm": "hog", "kernel_stack": [
                {"symbol": "oom_kill_process"}, {"symbol": "out_of_memory"}, {"symbol": "try_charge"}]},
            "oom_memcg": {"usage_bytes": 4096},
            "candidates": {"list": [{"pid": 7, "comm": "oomwhy", "anon_pages": 3},
                                    {"pid": 8, "comm": "hog", "anon_pages": 5}]},
            "victims": [{"pid": 8, "comm": "hog", "anon_rss_bytes": 20480, "uid": 0}],
        })
    }

    fn verdict(attach: WatcherTier, other: &Value) -> Vec<String> {
        let mut check = Check::default();
        one(&mut check, attach, &Facts::default(), &[first()], &other.to_string());
        check.disagreements
    }

    fn as_kprobe() -> Value {
        let mut other = first();
        other["source"]["tier"] = "kprobe".into();
        other
    }

    #[test]
    fn same_report_by_kprobes_agrees() {
        let mut other = as_kprobe();
        assert_eq!(verdict(WatcherTier::Kprobe, &other), [""; 0]);
        // These values depend on the probe, on a charge batch, and on the tracer itself.
        other["trigger"]["kernel_stack"].as_array_mut().unwrap().remove(0);
        other["oom_memcg"]["usage_bytes"] = 8192.into();
        other["candidates"]["list"][0]["anon_pages"] = 4.into();
        assert_eq!(verdict(WatcherTier::Kprobe, &other), [""; 0]);
    }

    #[test]
    fn difference_is_found() {
        for (pointer, value) in [
            ("/totalpages", json!(13)),
            ("/victims/0/comm", json!("dog")),
            ("/victims/0/anon_rss_bytes", json!(16384)),
            ("/candidates/list/1/anon_pages", json!(6)),
            ("/trigger/kernel_stack/2/symbol", json!("other")),
            ("/source/tier", json!("fentry")),
        ] {
            let mut other = as_kprobe();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_eq!(verdict(WatcherTier::Kprobe, &other).len(), 1, "{pointer}");
        }
        let mut other = as_kprobe();
        other["victims"][0]["new"] = 1.into();
        other["victims"][0].as_object_mut().unwrap().remove("uid");
        assert_eq!(verdict(WatcherTier::Kprobe, &other).len(), 2);
    }

    #[test]
    fn absence_in_tracepoint_tier_needs_reason() {
        let mut other = first();
        other["source"] = json!({"tier": "tracepoint", "missing": [
            {"field": "totalpages"}, {"field": "oom_memcg"}, {"field": "candidates"}]});
        assert_eq!(verdict(WatcherTier::Tracepoint, &other).len(), 8);
        for key in ["totalpages", "oom_memcg", "candidates"] {
            other.as_object_mut().unwrap().remove(key);
        }
        other["victims"][0]["anon_rss_bytes"] = 24576.into();
        assert_eq!(verdict(WatcherTier::Tracepoint, &other), [""; 0]);
        other["source"]["missing"] = json!([]);
        assert!(verdict(WatcherTier::Tracepoint, &other).len() > 3);
    }

    #[test]
    fn plain_path_has_no_list_keys() {
        assert_eq!(plain("victims[12].cgroup.path"), "victims.cgroup.path");
        assert!(is_in("victims[12].cgroup.path", &["victims.cgroup"]));
        assert!(!is_in("victims[12].cgroups", &["victims.cgroup"]));
    }
}
