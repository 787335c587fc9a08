//! Victims and their memory, with or without the per-CPU batches.

use super::{
    Findings, compose, kill,
    parts::{PARTS, candidate, candidates, host, task, victim},
    report,
};
use crate::model::{
    account::InvocationAccount,
    events::{self, Task},
    reap_and_exit::ReapAndExit,
    report::Victim,
};

/// file, anon, swap, shmem: 31 in all.
const BATCHES: [i64; 4] = [1, 20, -2, 12];

/// A kill of 100 by a kernel whose points are off by these drifts, for 100 and for 200.
fn account(chosen_drift: i64, other_drift: i64, batches: Option<[i64; 4]>) -> InvocationAccount {
    let mut account = kill();
    account.candidates = Some(candidates(vec![
        candidate(100, 0, PARTS + chosen_drift),
        candidate(200, 1, PARTS + other_drift),
    ]));
    account.victims.change(0, |(_, it)| it.per_cpu = batches);
    account
}

fn victim_of(account: &InvocationAccount) -> Victim {
    report(account).victims.remove(0)
}

/// Pages of file, anon, swap, shmem.
fn pages(victim: &Victim) -> [u64; 4] {
    let bytes =
        [victim.file_rss_bytes, victim.anon_rss_bytes, victim.swap_bytes, victim.shmem_rss_bytes];
    bytes.map(|bytes| bytes.unwrap() / 4096)
}

#[test]
fn batches_are_added_if_kernel_points_include_them() {
    let (plain, exact) = ([100, 1000, 200, 50], [101, 1020, 198, 62]);
    for (chosen_drift, other_drift, batches, expected) in [
        // 6.12: its points leave the batches out.
        (0, 0, Some(BATCHES), plain),
        (0, 5, Some(BATCHES), plain),
        // 7.3: they have them.
        (31, 0, Some(BATCHES), exact),
        (31, 5, Some(BATCHES), exact),
        // It ran meanwhile, or its batches cancel out: the others decide.
        (30, 0, Some(BATCHES), exact),
        (0, 5, Some([1, 20, -2, -19]), [101, 1020, 198, 31]),
        (0, 0, Some([1, 20, -2, -19]), plain),
        // Not readable.
        (0, 0, None, plain),
        (31, 5, None, plain),
    ] {
        let account = account(chosen_drift, other_drift, batches);
        let what = format!("{chosen_drift} {other_drift} {batches:?}");
        assert_eq!(pages(&victim_of(&account)), expected, "{what}");
    }
}

#[test]
fn points_of_leaderless_process_come_from_victim() {
    let leaderless = |drift: i64| {
        let mut account = account(drift, 0, Some(BATCHES));
        let rows = &mut account.candidates.as_mut().unwrap().list;
        rows.iter_mut().find(|row| row.tgid == 100).unwrap().memory = None;
        pages(&victim_of(&account))
    };
    assert_eq!(leaderless(0), pages(&victim_of(&account(0, 0, Some(BATCHES)))));
    assert_eq!(leaderless(31), pages(&victim_of(&account(31, 0, Some(BATCHES)))));
    assert_ne!(leaderless(0), leaderless(31));
}

#[test]
fn negative_sum_is_zero() {
    let mut account = account(31, 0, Some(BATCHES));
    let counts = [-5, 0, 1, -12];
    account.victims.change(0, |(_, victim)| victim.memory.as_mut().unwrap().counts = counts);
    assert_eq!(pages(&victim_of(&account)), [0, 20, 0, 0]);
}

#[test]
fn victim_without_candidates_has_plain_counts() {
    let mut account = account(31, 31, Some(BATCHES));
    account.candidates = None;
    let victim = victim_of(&account);
    assert_eq!(pages(&victim), [100, 1000, 200, 50]);
    assert_eq!(victim.points, None);
}

#[test]
fn victim_has_points_time_and_cgroup() {
    let mut account = account(0, 0, None);
    let other = events::Victim {
        task: Task {
            tid: 205,
            oom_score_adj: Some(-3),
            start_boottime_ns: Some(1_000_000_000),
            cgroup_id: Some(u64::MAX),
            ..task(200)
        },
        vpid: Some(1),
        ..victim(200)
    };
    account.victims.push((9_500, other));
    let mut findings = Findings::default();
    findings.cgroup_paths.insert(u64::MAX, "/pod".to_owned());
    let report = compose(&account, &host(), &findings);
    let [chosen, other] = report.victims.as_slice() else {
        panic!("not two victims");
    };
    assert!(chosen.chosen && !other.chosen);
    assert_eq!((chosen.pid, chosen.tid, chosen.vpid), (100, None, None));
    assert_eq!((other.pid, other.tid, other.vpid), (200, Some(205), Some(1)));
    assert_eq!((chosen.points, chosen.marked_at_ns), (Some(PARTS), Some(9_000)));
    assert_eq!(other.oom_score_adj, Some(-3));
    let start = other.who.start_time.unwrap().to_string();
    assert_eq!(start, "2026-01-01T00:00:01Z");
    let cgroup = other.cgroup.as_ref().unwrap();
    assert_eq!(cgroup.id.as_deref(), Some("18446744073709551615"));
    assert_eq!(cgroup.path.as_deref(), Some("/pod"));
    assert_eq!(other.pgtables_bytes, Some(3 * 4096));
    assert_eq!(other.total_vm_bytes, Some(5000 * 4096));
}

/// A victim that was marked at 12 ms with 1000 + 50 + 100 resident pages (anon, shmem, file).
fn died(after: ReapAndExit, is_overdue: bool) -> Victim {
    let mut account = kill();
    account.victims.change(0, |(at_ns, _)| *at_ns = 12_000_000);
    account.victims.change(0, |(_, it)| it.mm = Some(1));
    account.reap_and_exit.insert(100, after);
    account.is_overdue = is_overdue;
    victim_of(&account)
}

#[test]
fn exit_of_victim_is_relative_to_its_mark() {
    let victim = died(
        ReapAndExit {
            reaper_woken_ns: Some(2_012_000_000),
            reaping_started_ns: Some(2_013_000_000),
            reaping_finished_ns: Some(2_022_000_000),
            exited_ns: Some(7_012_000_000),
            freeing_ns: Some(7_013_000_000),
            left: Some([100, -3, 200, 0]),
            freed_ns: Some(7_022_000_000),
            ..ReapAndExit::default()
        },
        false,
    );
    let reaped = victim.reaped.clone().unwrap();
    assert_eq!(reaped.woken_after_ns, Some(2_000_000_000));
    assert_eq!(reaped.started_after_ns, Some(2_001_000_000));
    assert_eq!(reaped.finished_after_ns, Some(2_010_000_000));
    assert_eq!(reaped.bytes, Some(1050 * 4096));
    assert_eq!(victim.exited_after_ns, Some(7_000_000_000));
    assert_eq!(victim.freed_after_ns, Some(7_010_000_000));
    assert_eq!(victim.freed_bytes, Some(100 * 4096));
    assert!(!victim.stuck);
}

#[test]
fn victim_that_stays_until_deadline_is_stuck() {
    let gone = ReapAndExit { exited_ns: Some(1), freed_ns: Some(2), ..ReapAndExit::default() };
    let exited = ReapAndExit { exited_ns: Some(1), ..ReapAndExit::default() };
    assert!(!died(gone, true).stuck);
    assert!(died(exited.clone(), true).stuck);
    assert!(!died(exited.clone(), false).stuck);
    // Its memory is being freed; that the end of it was not seen does not prove that it stays.
    let returning = ReapAndExit { freeing_ns: Some(2), ..exited };
    assert!(!died(returning.clone(), true).stuck);
    let mut account = kill();
    account.reap_and_exit.insert(100, returning);
    let unseen = |account: &InvocationAccount| {
        let missing = report(account).source.missing;
        missing.iter().any(|missing| missing.field == "victims[].freed_after_ns")
    };
    assert!(!unseen(&account));
    account.is_replaced = true;
    assert!(unseen(&account));
    account.is_replaced = false;
    account.is_overdue = true;
    assert!(unseen(&account));
    let mut account = kill();
    account.is_overdue = true;
    assert!(victim_of(&account).stuck);
}

#[test]
fn mm_sharer_has_no_memory_of_its_own() {
    let mut account = kill();
    account.victims.change(0, |(_, it)| it.mm = Some(1));
    let mm_sharer = events::Victim {
        task: task(101),
        memory: None,
        mm: Some(1),
        shares_mm: true,
        without_swap: false,
        ..victim(101)
    };
    account.victims.push((13_000_000, mm_sharer));
    let victims = report(&account).victims;
    assert_eq!(victims[0].shares_mm_with, None);
    assert_eq!(victims[1].shares_mm_with, Some(100));
    assert_eq!((victims[1].anon_rss_bytes, victims[1].marked_at_ns), (None, None));
}
