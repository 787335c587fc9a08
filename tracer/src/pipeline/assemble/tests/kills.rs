//! Compact records of kills, which come before the details of their invocation.

use super::{
    Step::{Due, Finish, Say},
    check,
    script::{self, candidates, end_of_kill, invocation, kill, mm_sharer, victim, victim_with},
};
use crate::{
    model::{
        account::Account,
        events::{
            KillCause::GroupMember, KillCause::Marked, KillCause::SharesMm, VictimGoneStep::Exited,
        },
        reap_and_exit::Visible,
        shed::Shed,
    },
    pipeline::assemble::{Assembler, InFlight},
};

#[test]
fn kill_with_details_is_one_victim() {
    check(
        vec![
            Say(12, 1, kill(100, Marked)),
            Say(10, 1, invocation()),
            Say(12, 1, victim_with(100, 5)),
            Say(13, 1, kill(101, SharesMm)),
            Say(13, 1, mm_sharer(101, 5)),
            Say(14, 1, end_of_kill(1)),
            Finish,
        ],
        &["14: #1 since 10, invocation, victims 100@12 101@13, end"],
    );
}

#[test]
fn kills_of_later_invocations_do_not_close_an_earlier_one() {
    check(
        vec![
            Say(12, 1, kill(100, Marked)),
            Say(22, 2, kill(200, Marked)),
            Say(10, 1, invocation()),
            Say(11, 1, candidates()),
            Say(12, 1, victim(100)),
            Say(13, 1, end_of_kill(1)),
            Say(20, 2, invocation()),
            Say(22, 2, victim(200)),
            Say(23, 2, end_of_kill(1)),
            Finish,
        ],
        &[
            "13: #1 since 10, invocation, candidates, victims 100@12, end",
            "23: #2 since 20, invocation, victims 200@22, end",
        ],
    );
}

#[test]
fn kill_without_details_is_reported_before_a_later_invocation() {
    check(
        vec![
            Say(12, 1, kill(100, Marked)),
            Say(22, 2, kill(200, Marked)),
            Say(32, 3, kill(300, Marked)),
            Say(10, 1, invocation()),
            Say(30, 3, invocation()),
            Say(33, 3, end_of_kill(1)),
            Finish,
        ],
        &[
            "30: #1 since 10, invocation, victims 100@12",
            "30: #2 since 22, victims 200@22",
            "33: #3 since 30, invocation, victims 300@32, end",
        ],
    );
}

#[test]
fn kill_without_any_later_record_is_reported_after_a_while_or_at_the_end() {
    check(
        vec![
            Say(12, 1, kill(100, Marked)),
            Say(5_000, 2, kill(200, Marked)),
            Say(4_990, 2, invocation()),
            Due(10_011),
            Due(10_012),
            Due(15_000),
            Say(16_000, 3, kill(300, Marked)),
            Finish,
        ],
        &[
            "4990: #1 since 12, victims 100@12",
            "15000: #2 since 4990, invocation, victims 200@5000",
            "finish: #3 since 16000, victims 300@16000",
        ],
    );
}

#[test]
fn group_members_without_details_are_victims_in_order_of_marking() {
    check(
        vec![
            Say(11, 1, kill(100, Marked)),
            Say(12, 1, kill(102, GroupMember)),
            Say(13, 1, kill(100, GroupMember)),
            Say(14, 1, kill(101, GroupMember)),
            Say(10, 1, invocation()),
            Say(11, 1, victim(100)),
            Say(14, 1, victim(101)),
            Say(15, 1, end_of_kill(4)),
        ],
        &["15: #1 since 10, invocation, victims 100@11 102@12 101@14, end"],
    );
    let mut assembler = Assembler::default();
    for (ms, body) in [(11, kill(100, Marked)), (12, kill(102, GroupMember))] {
        assembler.push(script::event(ms, 1, body));
    }
    assembler.push(script::event(11, 1, victim(100)));
    let [account] = assembler.finish().try_into().unwrap();
    let account = account.invocation().unwrap();
    assert_eq!((account.marks, account.compact_memcg), (2, Some(7)));
    let is_compact = account.victims.iter().map(|(_, victim)| victim.is_compact);
    assert_eq!(is_compact.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn kill_without_report_is_in_flight_and_unfinished() {
    let mut assembler = Assembler::default();
    assert_eq!(assembler.in_flight(), InFlight::Nothing);
    assembler.push(script::event(12, 4, kill(100, Marked)));
    assert_eq!(assembler.in_flight(), InFlight::Kills);
    assert!(assembler.is_waiting());
    let unfinished = assembler.unfinished();
    assert!(unfinished.seqs.contains(&4) && unfinished.since_ns == Some(12 * script::MS));
    // The next run reports it.
    assert!(assembler.flush().is_empty());
}

#[test]
fn shed_details_of_all_records_of_an_invocation_are_added_up() {
    const CANDIDATES: u64 = oomwhy_common::valid::shed::CANDIDATES;
    const STAT: u64 = oomwhy_common::valid::shed::STAT;
    let mut assembler = Assembler::default();
    let mut push = |ms, body, valid| {
        let event = script::event(ms, 1, body);
        assembler.push(crate::model::events::Event { shed: Shed::from_header(valid), ..event })
    };
    push(10, invocation(), 0);
    push(12, victim(100), CANDIDATES);
    let done = push(13, end_of_kill(1), STAT);
    let [Account::Invocation(account)] = done.as_slice() else {
        panic!("not one invocation");
    };
    assert_eq!(account.shed, Shed::from_header(CANDIDATES | STAT));
}

#[test]
fn kill_after_an_end_that_was_too_early_is_in_the_final_report_once() {
    let visible = Visible { exits: false, freeing: true };
    let mut assembler = Assembler::new(visible, 10_000 * script::MS);
    let mut push = |ms, body| assembler.push(script::event(ms, 1, body));
    push(10, invocation());
    push(12, victim_with(100, 1));
    assert_eq!(push(63, end_of_kill(1)).len(), 1);
    assert_eq!(push(70, kill(101, GroupMember)), []);
    assert_eq!(push(70, kill(102, GroupMember)), []);
    assert_eq!(push(70, victim_with(101, 2)), []);
    assert_eq!(push(71, end_of_kill(4)), []);
    assert_eq!(assembler.in_flight(), InFlight::Nothing);
    let [account] = assembler.finish().try_into().unwrap();
    assert_eq!(account.invocation().unwrap().end.as_ref().map(|end| end.victims), Some(4));
    let victims = account.invocation().unwrap().victims.iter();
    let victims = victims.map(|(_, victim)| (victim.task.tgid, victim.is_compact));
    assert_eq!(victims.collect::<Vec<_>>(), [(100, false), (101, false), (102, true)]);
}

#[test]
fn second_end_with_shed_details_opens_nothing() {
    let mut assembler = Assembler::default();
    let mut push = |ms, body| {
        let shed = Shed::from_header(oomwhy_common::valid::shed::STAT);
        let event = script::event(ms, 1, body);
        assembler.push(crate::model::events::Event { shed, ..event })
    };
    push(10, invocation());
    push(12, victim(100));
    assert_eq!(push(13, end_of_kill(1)).len(), 1);
    assert_eq!(push(14, end_of_kill(1)), []);
    assert_eq!(assembler.finish(), []);
}

#[test]
fn sharer_that_is_marked_later_is_a_marked_victim() {
    let mut assembler = Assembler::default();
    let mut push = |ms, body| assembler.push(script::event(ms, 1, body));
    push(10, invocation());
    push(11, kill(100, Marked));
    push(11, victim_with(100, 5));
    push(12, kill(101, SharesMm));
    push(12, mm_sharer(101, 5));
    push(13, victim_with(101, 5));
    // The other way round, a signal changes nothing.
    push(14, mm_sharer(100, 5));
    let [account] = assembler.finish().try_into().unwrap();
    let victims = account.invocation().unwrap().victims.iter();
    let victims = victims.map(|(_, victim)| (victim.task.tgid, victim.shares_mm));
    assert_eq!(victims.collect::<Vec<_>>(), [(100, false), (101, false)]);
}

#[test]
fn exit_of_process_without_details_before_the_end_counts() {
    let mut assembler =
        Assembler::new(Visible { exits: true, freeing: false }, 10_000 * script::MS);
    let mut push = |ms, seq, body| assembler.push(script::event(ms, seq, body));
    push(10, 1, invocation());
    push(11, 1, kill(100, Marked));
    push(11, 1, victim(100));
    push(12, 1, kill(101, GroupMember));
    push(13, 0, script::gone(Exited, 101, 0));
    push(14, 0, script::gone(Exited, 100, 0));
    let done = push(15, 1, end_of_kill(2));
    let [Account::Invocation(account)] = done.as_slice() else {
        panic!("not one invocation");
    };
    let exits = account.reap_and_exit.iter().map(|(pid, end)| (*pid, end.exited_ns));
    let expected = [(100, Some(14 * script::MS)), (101, Some(13 * script::MS))];
    assert_eq!(exits.collect::<Vec<_>>(), expected);
    assert_eq!(account.expects_more(0, Visible { exits: true, freeing: false }), None);
}
