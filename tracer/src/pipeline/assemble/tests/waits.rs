//! Invocations that wait for a victim are counted with its kill, and ends that come twice.

use super::{
    check,
    script::{
        MS,
        Step::{Due, Finish, Say},
        chosen, end_of_kill, event, gone, invocation, invocation_of, no_victim, passed, repeats,
        victim, victim_with, wait_for_victim,
    },
};
use crate::{
    model::{account::Account, events::VictimGoneStep::Freed, reap_and_exit::Visible},
    pipeline::assemble::Assembler,
};

/// A kill for the limit of memcg 7, whose victim's memory is not back yet.
fn killed() -> Assembler {
    let mut assembler = Assembler::new(Visible { exits: false, freeing: true }, 10_000 * MS);
    assembler.push(event(10, 1, chosen()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(13, 1, end_of_kill(1)));
    assembler
}

/// The sums of waits in accounts.
fn waits(accounts: &[Account]) -> Vec<u64> {
    let invocations = accounts.iter().filter_map(Account::invocation);
    invocations.map(|it| it.waits_for_victim.values().sum()).collect()
}

#[test]
fn waits_in_memcg_of_open_report_are_counted_there() {
    let mut assembler = killed();
    // Those that the probes count with the kill, and a run that they describe.
    assert_eq!(assembler.push(event(14, 1, repeats(4, 14))), []);
    assert_eq!(assembler.push(event(20, 8, invocation())), []);
    assert_eq!(assembler.push(event(20, 8, wait_for_victim())), []);
    assembler.push(event(21, 8, repeats(2, 21)));
    // A count that was read from the map may be less than one that came since.
    assembler.push(event(22, 1, repeats(3, 22)));
    assert_eq!(waits(&assembler.push(event(30, 0, gone(Freed, 100, 1)))), [6]);
    assert_eq!(assembler.finish(), []);
}

#[test]
fn waits_in_other_memcg_are_reported_alone() {
    let mut assembler = killed();
    assembler.push(event(20, 2, invocation_of(9)));
    assembler.push(event(20, 2, wait_for_victim()));
    assert_eq!(waits(&assembler.push(event(30, 0, gone(Freed, 100, 1)))), [0]);
    let left = assembler.finish();
    assert_eq!(left.iter().map(Account::seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn waits_after_report_is_closed_are_reported_alone() {
    let mut assembler = killed();
    assembler.push(event(30, 0, gone(Freed, 100, 1)));
    assembler.push(event(40, 2, invocation()));
    assembler.push(event(40, 2, wait_for_victim()));
    assert_eq!(assembler.finish().iter().map(Account::seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn counts_of_open_reports_are_read() {
    let assembler = killed();
    let counted: Vec<_> = assembler.waits_to_poll().collect();
    assert_eq!(
        counted.iter().map(|it| (it.seq, it.oom_memcg, it.count)).collect::<Vec<_>>(),
        [(1, 7, 0)]
    );
}

#[test]
fn second_end_is_ignored() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 1, victim(100)),
            Say(12, 1, end_of_kill(1)),
            Say(13, 1, end_of_kill(1)),
            Say(14, 2, invocation()),
            Say(15, 2, wait_for_victim()),
            Say(16, 2, invocation()),
            Say(17, 2, wait_for_victim()),
            Finish,
        ],
        &[
            "12: #1 since 10, invocation, victims 100@11, end",
            "finish: #2 since 14, invocation, end",
        ],
    );
}

#[test]
fn end_that_knows_fewer_victims_is_ignored() {
    let mut assembler = killed();
    assembler.push(event(14, 1, end_of_kill(0)));
    let closed = assembler.push(event(30, 0, gone(Freed, 100, 1)));
    let end = closed[0].invocation().unwrap().end.as_ref().unwrap();
    assert_eq!(end.victims, 1);
}

#[test]
fn victim_that_asks_for_memory_again_is_counted_with_its_kill() {
    let mut assembler = killed();
    assembler.push(event(20, 2, invocation()));
    assembler.push(event(20, 2, passed()));
    assert_eq!(waits(&assembler.push(event(30, 0, gone(Freed, 100, 1)))), [1]);
    assert_eq!(assembler.finish(), []);
}

#[test]
fn late_choice_reopens_invocation() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(1011, 1, wait_for_victim()),
            Say(1500, 1, chosen()),
            Say(1501, 1, victim(100)),
            Say(1502, 1, end_of_kill(1)),
            Due(5000),
            Finish,
        ],
        &["1502: #1 since 10, invocation, victims 100@1501, end"],
    );
}

#[test]
fn invocation_reopened_after_its_report_has_the_next_revision() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(20, 1, no_victim()),
            Due(1100),
            Say(1500, 1, chosen()),
            Say(1501, 1, victim(100)),
            Say(1502, 1, end_of_kill(1)),
            Finish,
        ],
        &[
            "1100: #1 since 10, invocation, end",
            "1502: #1 since 10, invocation, victims 100@1501, end, reported before: 1",
        ],
    );
}
