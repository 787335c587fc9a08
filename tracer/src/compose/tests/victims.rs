//! Victims and their memory: with or without what sits in the per-CPU batches.

use super::{
    Findings, compose, kill,
    parts::{PARTS, candidate, candidates, host, task, victim},
    report,
};
use crate::{
    assemble::Account,
    events::{self, Task},
    report::Victim,
};

/// file, anon, swap, shmem: 31 in all.
const BATCHES: [i64; 4] = [1, 20, -2, 12];

/// A kill of 100 by a kernel whose points are off by these drifts, for 100 and for 200.
fn account(chosen_drift: i64, other_drift: i64, batches: Option<[i64; 4]>) -> Account {
    let mut account = kill();
    account.candidates = Some(candidates(vec![
        candidate(100, 0, PARTS + chosen_drift),
        candidate(200, 1, PARTS + other_drift),
    ]));
    account.victims[0].1.per_cpu = batches;
    account
}

fn victim_of(account: &Account) -> Victim {
    report(account).victims.remove(0)
}

/// Pages of file, anon, swap, shmem.
fn pages(victim: &Victim) -> [u64; 4] {
    let bytes =
        [victim.file_rss_bytes, victim.anon_rss_bytes, victim.swap_bytes, victim.shmem_rss_bytes];
    bytes.map(|bytes| bytes.unwrap() / 4096)
}

#[test]
fn batches_count_where_the_kernels_own_points_count_them() {
    let (plain, exact) = ([100, 1000, 200, 50], [101, 1020, 198, 62]);
    for (chosen_drift, other_drift, batches, expected) in [
        // 6.12: its points leave the batches out.
        (0, 0, Some(BATCHES), plain),
        (0, 5, Some(BATCHES), plain),
        // 7.3: they have them.
        (31, 0, Some(BATCHES), exact),
        (31, 5, Some(BATCHES), exact),
        // It ran meanwhile, or its batches cancel out: what the others say.
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
fn a_sum_below_zero_is_zero() {
    let mut account = account(31, 0, Some(BATCHES));
    let memory = account.victims[0].1.memory.as_mut().unwrap();
    memory.counts = [-5, 0, 1, -12];
    assert_eq!(pages(&victim_of(&account)), [0, 20, 0, 0]);
}

#[test]
fn without_candidates_the_counts_are_plain() {
    let mut account = account(31, 31, Some(BATCHES));
    account.candidates = None;
    let victim = victim_of(&account);
    assert_eq!(pages(&victim), [100, 1000, 200, 50]);
    assert_eq!(victim.points, None);
}

#[test]
fn a_victim_has_its_row_its_time_and_its_place() {
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
    let start = other.start_time.unwrap().to_string();
    assert_eq!(start, "2026-01-01T00:00:01Z");
    let cgroup = other.cgroup.as_ref().unwrap();
    assert_eq!(cgroup.id.as_deref(), Some("18446744073709551615"));
    assert_eq!(cgroup.path.as_deref(), Some("/pod"));
    assert_eq!(other.pgtables_bytes, Some(3 * 4096));
    assert_eq!(other.total_vm_bytes, Some(5000 * 4096));
}
