//! Reports without details: the probes shed them, or only the compact records of kills arrived.

use oomwhy_common::valid::shed;

use super::{kill, parts::victim, report};
use crate::model::{
    account::{InvocationAccount, UnseenEnd},
    events::{Memory, Victim},
    report::{Constraint, OomReport, Outcome, Truncated},
    shed::Shed,
};

fn missing(report: &OomReport) -> Vec<&str> {
    report.source.missing.iter().map(|it| it.field.as_str()).collect()
}

#[test]
fn absent_details_that_were_shed_are_named_and_not_lost() {
    let mut account = kill();
    account.candidates = None;
    account.shed = Shed::from_header(shed::CANDIDATES | shed::LEVELS | shed::STACKS);
    let report = report(&account);
    let keys = ["candidates", "trigger.kernel_stack", "trigger.user_stack", "limit_chain"];
    assert_eq!(report.source.shed, keys);
    assert_eq!(missing(&report), [] as [&str; 0]);
}

#[test]
fn details_that_came_in_spite_of_a_shed_bit_are_not_named() {
    let mut account = kill();
    account.shed = Shed::from_header(shed::CANDIDATES);
    assert_eq!(report(&account).source.shed, [] as [&str; 0]);
}

#[test]
fn kill_without_details_has_victim_and_memcg() {
    let memory = Memory { counts: [1, 2, 3, 4], pgtables_bytes: 8192, total_vm: 0 };
    let compact = Victim { is_compact: true, memory: Some(memory), ..victim(100) };
    let account = InvocationAccount {
        seq: 4,
        first_ns: 9_000,
        victims: vec![(9_000, compact)],
        marks: 1,
        compact_memcg: Some(77),
        ..InvocationAccount::default()
    };
    let report = report(&account);
    assert_eq!(report.outcome, Outcome::Killed);
    assert_eq!(report.constraint, Some(Constraint::Memcg));
    assert_eq!(report.oom_memcg.as_ref().unwrap().cgroup.id.as_deref(), Some("77"));
    let victim = &report.victims[0];
    assert_eq!((victim.pid, victim.comm.as_deref()), (100, Some("java")));
    assert_eq!((victim.anon_rss_bytes, victim.pgtables_bytes), (Some(8192), Some(8192)));
    assert_eq!(victim.total_vm_bytes, None);
    let fields = [
        "trigger",
        "outcome",
        "victims[].total_vm_bytes",
        "victims[].vpid",
        "candidates",
        "limit_chain",
    ];
    assert_eq!(missing(&report), fields);
}

#[test]
fn kills_without_any_record_are_counted_and_missing() {
    let mut account = kill();
    assert_eq!(report(&account).victims_total, None);
    account.end.as_mut().unwrap().processes = Some(1);
    let complete = report(&account);
    assert_eq!((complete.victims_total, missing(&complete)), (Some(1), vec![]));
    account.end.as_mut().unwrap().processes = Some(3);
    let report = report(&account);
    assert_eq!((report.victims_total, report.victims.len()), (Some(3), 1));
    assert_eq!(missing(&report), ["victims"]);
    let why = &report.source.missing[0].why;
    assert_eq!(why, "2 of 3 records were lost: the buffer of kills was full");
}

#[test]
fn more_victims_than_were_counted_raise_the_total() {
    let mut account = kill();
    account.victims.push((9_000, Victim { is_compact: true, ..victim(101) }));
    account.end.as_mut().unwrap().processes = Some(1);
    assert_eq!(report(&account).victims_total, Some(2));
}

#[test]
fn victims_beyond_the_limit_of_details_are_truncated_and_neither_shed_nor_lost() {
    let mut account = kill();
    account.victims.push((9_000, Victim { is_compact: true, ..victim(101) }));
    account.end.as_mut().unwrap().processes = Some(5);
    account.shed = Shed::from_header(shed::VICTIMS);
    let report = report(&account);
    assert_eq!(report.truncated, [Truncated { field: "victims".to_owned(), kept: 1, total: 5 }]);
    assert_eq!(report.source.shed, [] as [&str; 0]);
    assert_eq!(missing(&report), ["victims"]);
}

#[test]
fn victim_whose_exit_may_be_lost_is_not_stuck() {
    let mut account = kill();
    for (unseen_end, why) in
        [(UnseenEnd::RecordLost, "ring was full"), (UnseenEnd::ProbeSkipped, "skipped a probe")]
    {
        account.unseen_end = Some(unseen_end);
        let report = report(&account);
        assert!(!report.victims[0].stuck);
        assert_eq!(missing(&report), ["victims[].exited_after_ns", "victims[].freed_after_ns"]);
        assert!(report.source.missing.iter().all(|it| it.why.contains(why)), "{report:?}");
    }
}
