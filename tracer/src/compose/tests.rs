//! Reports of small accounts.

mod growth;
mod identity;
mod limits;
mod missing;
mod outcomes;
mod parts;
mod points;
mod shed;
mod stacks;
mod victims;

use serde_json::{Value, json};

use self::parts::{account, candidate, candidates, choice, end, host, invocation, victim};
use crate::model::{
    account::{Account, InvocationAccount, ReclaimedAccount},
    events::{Counter, Memcg, Name, Reclaimed, Repeats},
    facts::Findings,
    host::Host,
    report::{Missing, OomReport, Record, System},
    victims::Victims,
};

fn compose(account: &InvocationAccount, host: &Host, findings: &Findings) -> OomReport {
    super::compose(&account.clone().into(), host, findings)
}

fn report(account: &InvocationAccount) -> OomReport {
    compose(account, &host(), &Findings::default())
}

fn json(account: &InvocationAccount) -> Value {
    json_of(report(account))
}

fn json_of(report: OomReport) -> Value {
    serde_json::to_value(Record::Oom(Box::new(report))).unwrap()
}

/// A kill with nothing lost.
fn kill() -> InvocationAccount {
    InvocationAccount {
        candidates: Some(candidates(vec![candidate(100, 0, 1500)])),
        victims: vec![(9_000, victim(100))].into(),
        marks: 1,
        ..account(choice(100), end(1, 1))
    }
}

#[test]
fn lost_records_are_named_as_missing() {
    let lost = |account: &InvocationAccount| -> Vec<String> {
        let missing = report(account).source.missing;
        missing.into_iter().map(|it| it.field).collect()
    };
    let whole = kill();
    let without = |change: fn(&mut InvocationAccount)| {
        let mut account = whole.clone();
        change(&mut account);
        lost(&account)
    };
    assert!(lost(&whole).is_empty());
    assert_eq!(without(|it| it.invocation = None), ["trigger"]);
    assert_eq!(without(|it| it.candidates = None), ["candidates"]);
    assert_eq!(without(|it| it.end = None), ["outcome"]);
    assert_eq!(without(|it| it.victims = Victims::default()), ["victims"]);
    // Two of a group's three, one of them marked by two threads.
    let group = |marks| {
        let mut group = kill();
        group.end = Some(end(1, 4));
        group.victims.push((9_001, victim(101)));
        group.marks = marks;
        report(&group).source.missing
    };
    assert_eq!(group(4), []);
    let [missing] = group(3).try_into().unwrap();
    assert_eq!(missing.field, "victims");
    assert_eq!(missing.why, "1 of 4 records were lost: the ring was full");
    let nothing = lost(&InvocationAccount::default());
    assert_eq!(nothing, ["trigger", "outcome"]);
    // The fields that the host cannot give come first and stay.
    let mut host = host();
    host.missing =
        vec![Missing { field: "trigger.user_stack".to_owned(), why: "lockdown".to_owned() }];
    let report = compose(&InvocationAccount::default(), &host, &Findings::default());
    assert_eq!(report.source.missing.first(), host.missing.first());
    assert_eq!(report.source.missing.len(), 3);
}

#[test]
fn unknown_values_have_no_key() {
    let mut account = kill();
    account.invocation.as_mut().unwrap().control = None;
    account.victims.change(0, |(_, victim)| {
        (victim.memory, victim.vpid, victim.task.oom_score_adj) = (None, None, None);
    });
    let report = json(&account);
    for absent in [
        "/constraint",
        "/totalpages",
        "/oom_memcg",
        "/limit_chain",
        "/limit_chain_truncated",
        "/repeats",
        "/trigger/gfp_mask",
        "/trigger/order",
        "/trigger/cgroup",
        "/trigger/kernel_stack",
        "/candidates/list/0/adj_pages",
        "/candidates/list/0/drift_pages",
        "/candidates/list/0/why_not",
        "/victims/0/anon_rss_bytes",
        "/victims/0/vpid",
        "/victims/0/oom_score_adj",
        "/victims/0/cgroup",
    ] {
        assert_eq!(report.pointer(absent), None, "{absent}");
    }
    assert!(!report.to_string().contains("null"), "{report}");
    assert_eq!(json(&InvocationAccount::default())["victims"], json!([]));
}

#[test]
fn times_follow_wall_clock_of_the_kill() {
    let mut account = kill();
    account.repeats = Some(Repeats { count: 3, last_ns: 3_000_000_000 });
    let mut findings = Findings::default();
    let times = |findings: &Findings| {
        let report = compose(&account, &host(), findings);
        [report.time, report.repeats_until].map(|time| time.unwrap().to_string())
    };
    assert_eq!(times(&findings), ["2026-01-01T00:00:05Z", "2026-01-01T00:00:03Z"]);
    findings.realtime_offset_ns = Some(-1_000_000_000);
    assert_eq!(times(&findings), ["1970-01-01T00:00:04Z", "1970-01-01T00:00:02Z"]);
    // As far as both clocks go: centuries, not a panic.
    findings.realtime_offset_ns = Some(i64::MAX);
    account.invocation.as_mut().unwrap().started_ns = u64::MAX;
    let far = compose(&account, &host(), &findings).time.unwrap();
    assert!(far.to_string().starts_with("2846-"), "{far}");
}

#[test]
fn id_depends_on_invocation_only() {
    let id = |account: &InvocationAccount| report(account).id;
    assert_eq!(id(&kill()), "boot-000000012a05f200-101");
    let mut amended = kill();
    amended.repeats = Some(Repeats { count: 9, last_ns: 1 });
    assert_eq!(id(&amended), id(&kill()));
    let mut later = kill();
    later.invocation.as_mut().unwrap().started_ns += 1;
    assert!(id(&later) > id(&kill()));
    // Without the invocation's record, the id has the time of the first record.
    let left = InvocationAccount { first_ns: 16, ..InvocationAccount::default() };
    assert_eq!(id(&left), "boot-0000000000000010-0");
}

#[test]
fn reclaimed_report_has_trigger_and_memcg_without_choice() {
    let reclaimed = Reclaimed {
        trigger: invocation().trigger,
        oom_memcg: Memcg {
            id: Some(12),
            memory: Some(Counter { usage: 1, max: 2 }),
            swap: None,
            oom_group: None,
        },
        gfp_mask: 0xcc0,
        order: 3,
        count: 1,
    };
    let json = |reclaimed: &Reclaimed| {
        let reclaimed = Box::new(reclaimed.clone());
        let account = Account::Reclaimed(ReclaimedAccount { first_ns: 16, reclaimed });
        json_of(super::compose(&account, &host(), &Findings::default()))
    };
    let report = json(&reclaimed);
    assert_eq!(report["outcome"], "reclaimed");
    assert_eq!(report["constraint"], "memcg");
    assert_eq!(report["oom_memcg"]["max_bytes"], 8192);
    assert_eq!(report["trigger"]["pid"], 100);
    assert_eq!(report["trigger"]["gfp_mask"]["value"], 0xcc0);
    assert_eq!(report["trigger"]["order"], 3);
    assert_eq!(report["source"].get("missing"), None);
    assert_eq!(report.get("repeats"), None);
    assert_eq!(json(&Reclaimed { count: 8, ..reclaimed })["repeats"], 8);
}

#[test]
fn system_age_is_time_since_entry() {
    let mut account = kill();
    assert_eq!(json(&account).get("system"), None);
    let memory = System { free_bytes: Some(0), ..System::default() };
    account.system = Some((5_000_001_000, memory.clone()));
    let expected =
        json!({ "time": "2026-01-01T00:00:05.000001Z", "age_ns": 1000, "free_bytes": 0 });
    assert_eq!(json(&account)["system"], expected);
    // A clock that went backwards: the age is not known.
    account.system = Some((4_999_999_999, memory));
    assert_eq!(json(&account)["system"].get("age_ns"), None);
}

#[test]
fn name_that_is_not_utf8_keeps_its_bytes() {
    let mut account = kill();
    let invocation = account.invocation.as_mut().unwrap();
    invocation.trigger.comm = Name(b"a\xffb\n\x1b[31m".to_vec());
    let report = json(&account);
    assert_eq!(report["trigger"]["comm"], "a\u{fffd}b\n\u{1b}[31m");
    assert_eq!(report["trigger"]["comm_hex"], "61ff620a1b5b33316d");
    assert_eq!(report["victims"][0].get("comm_hex"), None);
}

#[test]
fn nodes_are_printed_as_kernel_ranges() {
    for (mask, expected) in [
        (0b1, "0"),
        (0b11, "0-1"),
        (0b1011, "0-1,3"),
        (1 << 63, "63"),
        (u64::MAX, "0-63"),
        (0b1110_0000, "5-7"),
    ] {
        assert_eq!(super::nodes(mask), expected, "{mask:#b}");
    }
}
