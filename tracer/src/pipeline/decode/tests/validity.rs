//! A clear validity bit removes the fields that it covers, and no others.

use std::{collections::BTreeSet, mem::offset_of};

use oomwhy_common::{
    event::{CandidateEntry, CandidatesHead, EndEvent, EventHeader, candidate, end_facts},
    valid,
};
use serde_json::Value;
use zerocopy::IntoBytes;

use super::{
    super::decode,
    wire::{
        candidates, end, entry, invocation, kill, levels, mark, reclaimed, stat, victim,
        victim_gone,
    },
};
use crate::model::events::{Body, Candidate};

/// Paths of all keys of the decoded record. The entries of a list share one path.
fn keys(record: &[u8]) -> BTreeSet<String> {
    fn collect(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = format!("{path}.{key}");
                    collect(value, &path, into);
                    into.insert(path);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, path, into)),
            _ => {}
        }
    }
    let event = serde_json::to_value(decode(record).unwrap()).unwrap();
    let mut into = BTreeSet::new();
    collect(&event, "", &mut into);
    into
}

/// Clears bits of the u64 at `position`, and expects that exactly the keys in `gone`, and the keys
/// below them, disappear.
#[track_caller]
fn check(record: &[u8], position: usize, bits: u64, gone: &str) {
    let mut cleared = record.to_vec();
    for (byte, mask) in cleared[position..].iter_mut().zip(bits.to_le_bytes()) {
        *byte &= !mask;
    }
    let (before, after) = (keys(record), keys(&cleared));
    let top: Vec<&str> = gone.split_whitespace().collect();
    let below =
        |path: &str| top.iter().any(|top| path == *top || path.starts_with(&format!("{top}.")));
    let expected: BTreeSet<String> = before.iter().filter(|it| !below(it)).cloned().collect();
    assert_eq!(after, expected, "bits {bits:#x}");
    assert!(top.iter().all(|top| before.contains(*top)), "{gone}");
}

#[test]
fn unknown_fields_of_invocation_are_absent() {
    let record = invocation();
    for (bits, gone) in [
        (valid::invocation::OOM_CONTROL, ".totalpages .chosen_points .gfp_mask .order .constraint"),
        (valid::trigger::TASK, ".trigger.start_boottime_ns .trigger.oom_score_adj"),
        (valid::trigger::CGROUP, ".trigger.cgroup_id"),
        (valid::oom_memcg::COUNTERS, ".oom_memcg.memory"),
        (valid::oom_memcg::SWAP, ".oom_memcg.swap"),
        (valid::oom_memcg::OOM_GROUP, ".oom_memcg.oom_group"),
        (valid::oom_memcg::ID, ".oom_memcg.id"),
        // At the entry, only the limit of a memcg has a constraint.
        (valid::oom_memcg::COUNTERS | valid::oom_memcg::ID, ".oom_memcg .constraint"),
        (
            valid::invocation::AT_ENTRY | valid::oom_memcg::COUNTERS | valid::oom_memcg::ID,
            ".oom_memcg",
        ),
        (valid::oom_memcg::POINTER, ".is_memcg"),
        (valid::invocation::MESSAGE, ".message"),
        (valid::invocation::NODEMASK, ".nodemask"),
        (valid::invocation::MEMS_ALLOWED, ".mems_allowed"),
        (valid::invocation::KERNEL_STACK, ".kernel_stack"),
        (valid::invocation::USER_STACK, ".user_stack"),
        (valid::invocation::CHOSEN, ".chosen"),
        (
            u64::MAX,
            ".totalpages .chosen_points .gfp_mask .order .constraint .is_memcg .oom_memcg .message \
             .nodemask .mems_allowed \
             .kernel_stack .user_stack .chosen .trigger.start_boottime_ns .trigger.oom_score_adj \
             .trigger.cgroup_id",
        ),
    ] {
        check(record.as_bytes(), offset_of!(EventHeader, valid), bits, gone);
    }
}

#[test]
fn unknown_fields_of_other_kinds_are_absent() {
    for (bits, gone) in [
        (valid::victim::TASK, ".start_boottime_ns"),
        (valid::victim::TASK | valid::victim::ADJ, ".start_boottime_ns .oom_score_adj"),
        (valid::victim::NO_SWAP, ".without_swap"),
        (valid::victim::MM | valid::victim::NO_SWAP, ".memory .without_swap"),
        (valid::victim::CGROUP, ".cgroup_id"),
        (valid::victim::MM, ".memory"),
        (valid::victim::PER_CPU, ".per_cpu"),
        (valid::victim::VPID, ".vpid"),
    ] {
        check(victim().as_bytes(), offset_of!(EventHeader, valid), bits, gone);
    }
    for (bits, gone) in [
        (valid::victim::TASK, ".start_boottime_ns"),
        (valid::victim::TASK | valid::victim::ADJ, ".start_boottime_ns .oom_score_adj"),
        (valid::victim::CGROUP, ".cgroup_id"),
        (valid::kill::MM, ".counts .pgtables_bytes"),
        (valid::oom_memcg::ID, ".oom_memcg_id"),
    ] {
        check(kill().as_bytes(), offset_of!(EventHeader, valid), bits, gone);
    }
    check(mark().as_bytes(), offset_of!(EventHeader, valid), valid::mark::FIELDS, ".fields");
    let processes = valid::end::PROCESSES;
    check(end().as_bytes(), offset_of!(EventHeader, valid), processes, ".processes");
    let counts = valid::victim_gone::COUNTS;
    check(victim_gone().as_bytes(), offset_of!(EventHeader, valid), counts, ".counts");
    check(stat().as_bytes(), offset_of!(EventHeader, valid), valid::stat::FIELDS, ".places");
    for (bits, gone) in [
        (valid::trigger::TASK, ".trigger.start_boottime_ns .trigger.oom_score_adj"),
        (valid::trigger::CGROUP, ".trigger.cgroup_id"),
        (valid::oom_memcg::COUNTERS, ".oom_memcg.memory"),
        (valid::oom_memcg::SWAP, ".oom_memcg.swap"),
        (valid::oom_memcg::ID, ".oom_memcg.id"),
    ] {
        check(reclaimed().as_bytes(), offset_of!(EventHeader, valid), bits, gone);
    }
    let swap = valid::levels::SWAP;
    check(&levels(3), offset_of!(EventHeader, valid), swap, ".list.swap");
    check(&levels(3), offset_of!(EventHeader, valid), valid::levels::KMEM, ".list.kmem");
}

#[test]
fn unknown_fields_of_candidate_are_absent() {
    let flags = size_of::<CandidatesHead>() + offset_of!(CandidateEntry, flags);
    for (bits, gone) in [
        (candidate::MM, ".list.counts .list.pgtables_bytes .list.total_vm"),
        (candidate::UID, ".list.uid"),
        (candidate::ADJ, ".list.oom_score_adj"),
        (candidate::POINTS_RETURNED, ".list.points"),
    ] {
        check(&candidates(1), flags, bits.into(), gone);
    }
}

#[test]
fn candidate_is_refused_if_its_known_points_say_so() {
    let returned = candidate::POINTS_RETURNED;
    for (points, flags, refused, known) in [
        (i64::MIN, returned, true, Some(i64::MIN)),
        (i64::MIN, 0, true, None),
        (i64::MIN, candidate::POINTS_UNKNOWN, false, None),
        (-7, returned, false, Some(-7)),
        (0, 0, false, None),
    ] {
        let mut entry = entry(0);
        (entry.points, entry.flags) = (points, flags);
        let record = [&candidates(1)[..size_of::<CandidatesHead>()], entry.as_bytes()].concat();
        let Body::Candidates(table) = decode(&record).unwrap().body else {
            panic!("not candidates");
        };
        let [Candidate { refused: is, points: now, .. }] = table.list.as_slice() else {
            panic!("not one candidate");
        };
        assert_eq!((*is, *now), (refused, known), "{points} {flags:#x}");
    }
}

#[test]
fn unknown_facts_of_end_are_absent() {
    for (bit, gone) in [
        (end_facts::TRIGGER_IS_VICTIM, ".facts.trigger_is_victim"),
        (end_facts::TRIGGER_IS_DYING, ".facts.trigger_is_dying"),
        (end_facts::SUSPENDED, ".facts.suspended"),
        (end_facts::HAS_NOTIFIERS, ".facts.has_notifiers"),
        (end_facts::WITHOUT_FS, ".facts.without_fs"),
        (end_facts::IS_MEMCG, ".facts.is_memcg"),
        (end_facts::EVALUATED, ".facts.evaluated"),
        (end_facts::PRINTED, ".facts.printed"),
    ] {
        check(end().as_bytes(), offset_of!(EndEvent, facts_known), bit.into(), gone);
    }
}

#[test]
fn uncounted_oom_kill_calls_are_absent() {
    let mut record = end();
    record.oom_kill_calls = u32::MAX;
    let keys = keys(record.as_bytes());
    assert!(!keys.contains(".shots") && keys.contains(".kill_calls"));
}
