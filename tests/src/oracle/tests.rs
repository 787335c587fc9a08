//! Tests of the oracle: a right report passes, and every wrong or missing number is found.

use serde_json::json;

use super::*;
use crate::facts::Cgroup;
use crate::scenarios;

/// The log of a 7.3 kernel, changed to fit the scenario `memcg_v2`.
fn kmsg() -> String {
    include_str!("../../fixtures/kmsg/7.3-memcg-v2.txt").replace("/pod.slice/ctr1", "/pod/ctr")
}

fn facts() -> Facts {
    let cgroup = Cgroup { path: "/pod/ctr".into(), inode: 77, ..Cgroup::default() };
    Facts { oom_kills_before: 3, oom_kills_after: 4, cgroups: vec![cgroup], ..Facts::default() }
}

/// A log with one line for each of `count` kills. Their pids start at 1.
pub(super) fn log_of_kills(comm: &str, count: usize) -> Log {
    let line = |pid| {
        format!(
            "6,{pid},{pid},-;Memory cgroup out of memory: Killed process {pid} ({comm}) \
             total-vm:4404kB, anon-rss:68kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:44kB \
             oom_score_adj:0\n"
        )
    };
    Log::parse(&(1..=count).map(line).collect::<String>())
}

/// A sleeper's row. The kernel's exact sum is 361 pages, of which CPUs hold back 41.
fn sleeper(pid: u32, uid: u32, oom_score_adj: i64) -> Value {
    json!({
        "pid": pid, "comm": "sleep", "uid": uid, "eligible": true, "chosen": false,
        "points": 371 + oom_score_adj * 12, "anon_pages": 0, "file_pages": 0, "shmem_pages": 320,
        "swap_pages": 0, "pgtables_pages": 10, "oom_score_adj": oom_score_adj,
        "adj_pages": oom_score_adj * 12, "drift_pages": 41,
    })
}

/// The statistics of the log that reports have.
fn stat() -> Value {
    let log = Log::parse(&kmsg());
    let stat = &log.blocks[0].stat;
    let known = memcg_stat::STAT.iter().filter_map(|name| Some((*name, stat.get(*name)?)));
    known
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn report() -> Value {
    json!({
        "type": "oom", "outcome": "killed", "reason": "selection", "constraint": "memcg", "totalpages": 12288,
        "message": "Memory cgroup out of memory",
        "trigger": {
            "pid": 118, "comm": "hog", "oom_score_adj": 100, "order": 0,
            "gfp_mask": { "value": 0xcc0, "names": ["GFP_KERNEL"] },
        },
        "oom_memcg": {
            "id": "77", "path": "/pod/ctr", "usage_bytes": 49152 * 1024, "max_bytes": 49152 * 1024,
            "stat": stat(),
        },
        "candidates": {
            "considered": 3, "recorded": 3,
            "list": [
                {
                    "pid": 118, "comm": "hog", "uid": 0, "eligible": true, "chosen": true,
                    "points": 13606, "anon_pages": 12160, "file_pages": 1, "shmem_pages": 175,
                    "swap_pages": 0, "pgtables_pages": 35, "oom_score_adj": 100,
                    "adj_pages": 1200, "drift_pages": 35,
                },
                sleeper(116, 1234, 500),
                sleeper(115, 0, 0),
            ],
        },
        "victims": [{
            "pid": 118, "comm": "hog", "uid": 0, "chosen": true, "oom_score_adj": 100,
            "cgroup": { "id": "77", "path": "/pod/ctr" },
            "total_vm_bytes": 206_908 * 1024, "pgtables_bytes": 140 * 1024,
            "anon_rss_bytes": 12160 * 4096, "file_rss_bytes": 4096, "shmem_rss_bytes": 175 * 4096,
            "exited_after_ns": 12_000_000, "freed_after_ns": 34_000_000,
            "freed_bytes": 12336 * 4096,
        }],
        "source": { "tier": "fentry", "drops": 0 },
    })
}

fn verdict(report: &Value) -> Vec<String> {
    verdict_on(&format!("{report}\n"), &kmsg(), "0\n")
}

fn verdict_on(report: &str, kmsg: &str, exit: &str) -> Vec<String> {
    let scenario = scenarios::find("memcg_v2").unwrap();
    compare(scenario, &Account { facts: &facts(), kmsg, report, exit, watchers: &BTreeMap::new() })
}

#[test]
fn right_report_passes() {
    assert_eq!(verdict(&report()), Vec::<String>::new());
}

/// The pointers of all values that are not objects or lists of objects.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                leaves(field, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

#[test]
fn wrong_value_is_found() {
    let mut pointers = Vec::new();
    leaves(&report(), "", &mut pointers);
    assert!(pointers.len() > 60);
    for pointer in pointers.iter().filter(|pointer| *pointer != "/source/tier") {
        let mut wrong = report();
        let value = wrong.pointer_mut(pointer).unwrap();
        *value = match &value {
            Value::Bool(flag) => Value::Bool(!*flag),
            // The oracle can check that it happened, not when.
            Value::Number(_) if pointer.ends_with("_after_ns") => json!(0),
            Value::Number(number) if pointer.ends_with("/freed_bytes") => {
                json!(number.as_i64().unwrap() + (4 << 20))
            }
            // The change is larger than the tolerance of any field.
            Value::Number(number) if pointer.ends_with("/usage_bytes") => {
                json!(number.as_i64().unwrap() + (1 << 20))
            }
            Value::Number(number) => json!(number.as_i64().unwrap() + 1),
            _ => json!("wrong"),
        };
        assert_ne!(verdict(&wrong), Vec::<String>::new(), "{pointer} was wrong");
    }
}

#[test]
fn missing_value_is_found() {
    let mut pointers = Vec::new();
    leaves(&report(), "", &mut pointers);
    let optional = ["/source/tier"];
    for pointer in pointers.iter().filter(|pointer| !optional.contains(&pointer.as_str())) {
        let mut partial = report();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        partial.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        assert_ne!(verdict(&partial), Vec::<String>::new(), "{pointer} was missing");
    }
}

#[test]
fn missing_second_or_foreign_report_is_found() {
    let right = report();
    let mut foreign = report();
    foreign["victims"][0]["pid"] = json!(999);
    for wrong in [String::new(), format!("{right}\n{right}\n"), format!("{right}\n{foreign}\n")] {
        assert_ne!(verdict_on(&wrong, &kmsg(), "0"), Vec::<String>::new(), "{wrong}");
    }
}

#[test]
fn wrong_exit_code_or_stdout_noise_is_found() {
    let right = format!("{}\n", report());
    assert_ne!(verdict_on(&right, &kmsg(), "1"), Vec::<String>::new());
    assert_ne!(verdict_on(&format!("{right}hello\n"), &kmsg(), "0"), Vec::<String>::new());
}

#[test]
fn kill_without_block_is_compared_with_its_line() {
    let kmsg = kmsg();
    let bare = kmsg.lines().last().unwrap();
    assert_eq!(verdict_on(&report().to_string(), bare, "0"), Vec::<String>::new());
    let mut wrong = report();
    wrong["victims"][0]["pgtables_bytes"] = json!(4096);
    assert_eq!(verdict_on(&wrong.to_string(), bare, "0").len(), 1);
}

#[test]
fn exact_counter_has_no_tolerance() {
    let mut exact = report();
    for candidate in exact["candidates"]["list"].as_array_mut().unwrap() {
        let drift = candidate["drift_pages"].as_i64().unwrap();
        candidate["drift_pages"] = json!(0);
        candidate["points"] = json!(candidate["points"].as_i64().unwrap() - drift);
    }
    assert_ne!(verdict(&exact), Vec::<String>::new());
}

#[test]
fn memory_of_dying_task_is_tolerated_on_old_kernels_only() {
    let kmsg = kmsg();
    let bare = kmsg.lines().last().unwrap();
    let agrees_on_kernel = |release: &str, part_off: &str, pages_off: i64| {
        let mut report = report();
        for candidate in report["candidates"]["list"].as_array_mut().unwrap() {
            let drift = candidate["drift_pages"].take().as_i64().unwrap();
            candidate["drift_pages"] = json!(0);
            candidate["points"] = json!(candidate["points"].as_i64().unwrap() - drift);
        }
        let line = Log::parse(bare);
        let kill = line.kills().next().unwrap();
        let victim = &mut report["victims"][0];
        for (part, kib) in
            ["anon_rss_bytes", "file_rss_bytes", "shmem_rss_bytes"].iter().zip(kill.rss_kib)
        {
            victim[*part] = json!(i64::try_from(kib * 1024).unwrap());
        }
        victim[part_off] = json!(victim[part_off].as_i64().unwrap() - pages_off * 4096);
        let facts = Facts { kernel_release: release.to_owned(), ..facts() };
        let report = report.to_string();
        let account = Account {
            facts: &facts,
            kmsg: bare,
            report: &report,
            exit: "0",
            watchers: &BTreeMap::new(),
        };
        compare(scenarios::find("memcg_v2").unwrap(), &account).is_empty()
    };
    assert!(agrees_on_kernel("5.10.0-46", "anon_rss_bytes", 31));
    assert!(!agrees_on_kernel("5.10.0-46", "anon_rss_bytes", 66));
    // One page fault maps up to 16 pages of a file.
    assert!(agrees_on_kernel("5.10.0-46", "shmem_rss_bytes", 228));
    assert!(!agrees_on_kernel("5.10.0-46", "shmem_rss_bytes", 65 * 16 + 1));
    assert!(!agrees_on_kernel("6.12.1", "anon_rss_bytes", 1));
}

/// The disagreements in the scenario `memcg_v2` with some changes.
fn verdict_of(report: &Value, change: impl FnOnce(&mut Scenario, &mut Facts)) -> Vec<String> {
    let known = scenarios::find("memcg_v2").unwrap();
    let mut scenario = Scenario { ..*known };
    let mut facts = facts();
    change(&mut scenario, &mut facts);
    let (kmsg, report) = (kmsg(), report.to_string());
    let watchers = BTreeMap::new();
    let account =
        Account { facts: &facts, kmsg: &kmsg, report: &report, exit: "0", watchers: &watchers };
    compare(&scenario, &account)
}

#[test]
fn victim_without_line_is_found_unless_scenario_has_it() {
    let mut report = report();
    let mm_sharer = json!({ "pid": 9, "comm": "mm_sharer" });
    report["victims"].as_array_mut().unwrap().push(mm_sharer);
    assert_eq!(verdict_of(&report, |_, _| {}).len(), 1);
    let silent = verdict_of(&report, |scenario, _| scenario.silent_victims = &[("mm_sharer", 1)]);
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn outcome_that_scenario_does_not_list_is_found() {
    let quiet = |outcome: &str| {
        let quiet = json!({ "type": "oom", "outcome": outcome, "trigger": { "pid": 1 } });
        verdict_on(&format!("{}\n{quiet}\n", report()), &kmsg(), "0")
    };
    assert_eq!(quiet("victim_pending"), Vec::<String>::new());
    assert_ne!(quiet("already_exiting"), Vec::<String>::new());
    assert_ne!(quiet("no_victim"), Vec::<String>::new());
    // There is no kill beside which memory could become available.
    let alone = |outcome: &str| {
        let report = json!({ "type": "oom", "outcome": outcome, "trigger": { "pid": 1 } });
        verdict_on(&report.to_string(), "", "0")
    };
    assert!(alone("reclaimed").iter().any(|it| it.contains("reports of outcome reclaimed")));
}

#[test]
fn wrong_kill_counter_is_found() {
    let counted = |kills: u64| {
        verdict_of(&report(), |_, facts| {
            facts.cgroups[0].events.insert("oom_kill".into(), kills);
        })
    };
    assert_eq!(counted(1), Vec::<String>::new());
    assert_eq!(counted(2).len(), 1);
}

#[test]
fn swap_is_part_of_domain_up_to_its_limit() {
    let verdict = |totalpages: u64, limit_kib: u64, machine_pages: u64| {
        let mut report = report();
        report["totalpages"] = json!(totalpages);
        for candidate in report["candidates"]["list"].as_array_mut().unwrap() {
            candidate["oom_score_adj"] = json!(0); // Then no points change.
        }
        let kmsg = kmsg().replace(
            "swap: usage 0kB, limit 0kB",
            &format!("swap: usage 0kB, limit {limit_kib}kB"),
        );
        let facts = Facts { swap_pages: machine_pages, ..facts() };
        let (report, watchers) = (report.to_string(), BTreeMap::new());
        let account =
            Account { facts: &facts, kmsg: &kmsg, report: &report, exit: "0", watchers: &watchers };
        let disagreements = compare(scenarios::find("memcg_v2").unwrap(), &account);
        disagreements.iter().any(|it| it.contains("/totalpages"))
    };
    assert!(!verdict(12288 + 100, 400, 1000));
    assert!(!verdict(12288 + 50, 400, 50));
    assert!(verdict(12288, 400, 50));
}

#[test]
fn kswapd_may_move_pages_between_evaluation_and_print_but_not_add_any() {
    let disagreements = |moved: i64, added: i64| {
        let mut report = report();
        let candidate = &mut report["candidates"]["list"][0];
        let plus = |field: &str, pages: i64| json!(candidate[field].as_i64().unwrap() + pages);
        let (anon, swap) = (plus("anon_pages", moved + added), plus("swap_pages", -moved));
        candidate["anon_pages"] = anon;
        candidate["swap_pages"] = swap;
        candidate["points"] = json!(candidate["points"].as_i64().unwrap() + added);
        let facts = Facts { swap_pages: 65536, ..facts() };
        let (report, kmsg, watchers) = (report.to_string(), kmsg(), BTreeMap::new());
        let account =
            Account { facts: &facts, kmsg: &kmsg, report: &report, exit: "0", watchers: &watchers };
        let all = compare(scenarios::find("memcg_v2").unwrap(), &account);
        all.into_iter().filter(|it| it.starts_with("victim") && it.contains("candidate")).count()
    };
    assert_eq!(disagreements(0, 0), 0);
    assert_eq!(disagreements(500, 0), 0);
    assert_ne!(disagreements(600, 0), 0);
    assert_ne!(disagreements(0, 100), 0);
}

#[test]
fn refused_candidate_needs_the_reason_of_the_scenario() {
    let mut report = report();
    report["candidates"]["list"][1]["eligible"] = json!(false);
    report["candidates"]["list"][1]["why_not"] = json!("vfork");
    assert_ne!(verdict_of(&report, |_, _| {}), Vec::<String>::new());
    // Both sleepers have the same name.
    report["candidates"]["list"][2]["eligible"] = json!(false);
    report["candidates"]["list"][2]["why_not"] = json!("vfork");
    let refused = |why: &'static [(&'static str, &'static str)]| {
        verdict_of(&report, |scenario, _| scenario.refused = why)
    };
    assert_eq!(refused(&[("sleep", "vfork")]), Vec::<String>::new());
    assert_eq!(refused(&[("sleep", "oom_skip")]).len(), 2);
}

#[test]
fn only_helper_process_may_change_between_evaluation_and_print() {
    let verdict = |comm: &str| {
        let mut report = report();
        let candidate = &mut report["candidates"]["list"][2];
        candidate["comm"] = json!(comm);
        candidate["oom_score_adj"] = json!(-1000);
        candidate["eligible"] = json!(false);
        candidate["why_not"] = json!("oom_score_adj_min");
        let kmsg = kmsg();
        let of_pid = |line: &str| line.contains("[    115]");
        let lines = kmsg.lines().map(|line| match line.strip_suffix("sleep") {
            Some(rest) if of_pid(line) => format!("{rest}{comm}\n"),
            _ => format!("{line}\n"),
        });
        verdict_on(&report.to_string(), &lines.collect::<String>(), "0")
    };
    assert_eq!(verdict("oomwhy-names"), Vec::<String>::new());
    assert_ne!(verdict("sleep"), Vec::<String>::new());
}

/// The log of `memcg_v2` with a second invocation by the same task, which finds no task to kill,
/// and the report of that invocation.
fn retry() -> (String, Value) {
    let kmsg = kmsg();
    let block = kmsg.lines().filter(|line| {
        !["oom-kill:", "Killed process", "oom_reaper"].iter().any(|word| line.contains(word))
    });
    let block: Vec<&str> = block.collect();
    let mut quiet = report();
    quiet["outcome"] = json!("no_victim");
    for key in ["victims", "reason", "message"] {
        quiet.as_object_mut().unwrap().remove(key);
    }
    for candidate in quiet["candidates"]["list"].as_array_mut().unwrap() {
        candidate["chosen"] = json!(false);
    }
    (format!("{kmsg}\n{}\n", block.join("\n")), quiet)
}

#[test]
fn retry_without_victim_is_accepted_if_the_log_has_it() {
    let (log, quiet) = retry();
    let both = format!("{}\n{quiet}\n", report());
    assert_eq!(verdict_on(&both, &log, "0"), Vec::<String>::new());
    let mut wrong = quiet.clone();
    wrong["trigger"]["comm"] = json!("other");
    let found = verdict_on(&format!("{}\n{wrong}\n", report()), &log, "0");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn retry_without_victim_is_found_if_log_or_report_does_not_have_it() {
    let (log, quiet) = retry();
    let one = report().to_string();
    assert_eq!(verdict_on(&one, &log, "0").len(), 1);
    let twice = format!("{one}\n{quiet}\n{quiet}\n");
    assert_eq!(verdict_on(&twice, &log, "0").len(), 1);
    assert_ne!(verdict_on(&format!("{one}\n{quiet}\n"), &kmsg(), "0"), Vec::<String>::new());
}
