//! Logs of kernels up to 5.0.

use super::{check_missing, fixture, only, reports, reports_in};
use crate::{
    kmsg::Context,
    model::report::{Constraint, Reason},
};

#[test]
fn report_of_4_19_has_limit_and_choice() {
    let report = only(fixture("4.19-memcg-v1"));
    let memcg = report.oom_memcg.as_ref().unwrap();
    assert_eq!(memcg.cgroup.path.as_deref(), Some("/kubepods/pod7"));
    assert_eq!((memcg.usage_bytes, memcg.max_bytes), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((memcg.memsw_usage_bytes, memcg.memsw_max_bytes), (Some(64 << 20), None));
    assert!(memcg.memsw_no_limit && memcg.kmem_no_limit && !memcg.no_limit);
    assert_eq!(memcg.kmem_usage_bytes, Some(1892 << 10));
    // Of the memcg at its limit, not of the one below it.
    assert_eq!(memcg.stat.as_ref().unwrap().get("rss"), Some(&0));
    let [victim] = report.victims.as_slice() else { panic!("{:?}", report.victims) };
    assert_eq!((victim.pid, victim.chosen, victim.uid), (9154, true, Some(1000)));
    assert_eq!(victim.cgroup.as_ref().unwrap().path.as_deref(), Some("/kubepods/pod7/ctr"));
    assert_eq!(victim.oom_score_adj, Some(968));
    let reaped = victim.reaped.as_ref().unwrap();
    assert_eq!(reaped.finished_after_ns, Some(3_643_000));
    assert_eq!(reaped.bytes, Some((62_604 + 684) * 1024));
    assert_eq!(report.message.as_deref(), Some("Memory cgroup out of memory"));
    // The log of a memcg's OOM does not contain the size of the host's swap.
    assert_eq!(report.totalpages, None);
    check_missing(&report, "totalpages", "swap");
    check_missing(&report, "candidates.points", "totalpages");
    let candidates = report.candidates.unwrap();
    assert_eq!((candidates.list[0].pid, candidates.list[0].rank), (9154, None));
}

#[test]
fn points_are_known_with_swap_size_of_host() {
    let context = Context { swap_total_bytes: Some(0), ..Context::default() };
    let [report] = reports_in(&context, fixture("4.19-memcg-v1")).try_into().unwrap();
    assert_eq!(report.totalpages, Some(16384));
    let points: Vec<Option<i64>> =
        report.candidates.unwrap().list.iter().map(|row| row.points).collect();
    // Before 5.9 points are at least 1.
    assert_eq!(points, [Some(15_822 + 50 + 968 * 16), Some(390 + 15 + 968 * 16), Some(1)]);
}

#[test]
fn sacrificed_child_is_victim_but_not_chosen() {
    let log = "Memory cgroup out of memory: Kill process 41 (make) score 68 or sacrifice child\n\
        Killed process 42 (cc1) total-vm:11968kB, anon-rss:4288kB, file-rss:3972kB, shmem-rss:0kB\n\
        Memory cgroup out of memory: Kill process 41 (make) score 68 or sacrifice child\n\
        Killed process 43 (cc1) total-vm:11968kB, anon-rss:4288kB, file-rss:3972kB, shmem-rss:0kB";
    let reports = reports(log);
    assert_eq!(reports.len(), 2);
    for (report, pid) in reports.iter().zip([42, 43]) {
        let [victim] = report.victims.as_slice() else { panic!("{:?}", report.victims) };
        assert_eq!((victim.pid, victim.chosen, victim.uid), (pid, false, None));
        assert_eq!(report.constraint, Some(Constraint::Memcg));
        assert_eq!(report.reason, Some(Reason::Selection));
    }
}

#[test]
fn kill_line_of_rhel_7_is_parsed() {
    let log =
        "Killed process 18 (be), UID 7, total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
    let victim = only(log).victims.remove(0);
    assert_eq!(
        (victim.pid, victim.total_vm_bytes, victim.comm.as_deref()),
        (18, Some(8192), Some("be"))
    );
}

#[test]
fn page_tables_in_wrong_unit_are_corrected() {
    let log = fixture("5.10-memcg-v2").replace("pgtables:132kB", "pgtables:135168kB");
    assert_eq!(only(log).victims[0].pgtables_bytes, Some(135_168));
}
