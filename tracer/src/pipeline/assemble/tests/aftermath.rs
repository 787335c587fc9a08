//! What becomes of victims: told at once, closed when they are gone or late.

use super::script::{MS, after, end_of_kill, event, invocation, sharer, victim_with, wait};
use crate::{
    model::{
        account::{Account, Stage},
        events::AfterWhat::{Exited, Freed, ReapingFinished, ReapingStarted},
        reap_and_exit::Visible,
    },
    pipeline::assemble::Assembler,
};

const ALL: Visible = Visible { exits: true, freeing: true };
const DEADLINE_MS: u64 = 10_000;

/// A kill of 100, whose memory is `1`, ended at 13 ms.
fn killed(visible: Visible) -> (Assembler, Vec<Account>) {
    let mut assembler = Assembler::new(visible, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    let told = assembler.push(event(13, 1, end_of_kill(1)));
    (assembler, told)
}

fn stages(accounts: &[Account]) -> Vec<Stage> {
    accounts.iter().map(|account| account.stage).collect()
}

#[test]
fn a_kill_is_told_at_once_and_closed_when_its_victim_is_gone_and_its_memory_is_back() {
    // Which comes first depends on the kernel.
    for [first, second] in [[Exited, Freed], [Freed, Exited]] {
        let (mut assembler, told) = killed(ALL);
        assert_eq!(stages(&told), [Stage::Provisional]);
        assert!(assembler.push(event(20, 0, after(first, 100, 1))).is_empty());
        assert!(assembler.is_waiting());
        let closed = assembler.push(event(30, 0, after(second, 100, 1)));
        assert_eq!(stages(&closed), [Stage::Final]);
        let aftermath = &closed[0].reap_and_exit[&100];
        let mut times = [aftermath.exited_ns, aftermath.freed_ns];
        times.sort_unstable();
        assert_eq!(times, [Some(20 * MS), Some(30 * MS)]);
        assert!(!assembler.is_waiting());
        assert!(!closed[0].is_overdue);
    }
}

#[test]
fn what_happens_before_the_end_counts() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(13, 0, after(Exited, 100, 1)));
    assembler.push(event(14, 1, after(Freed, 100, 1)));
    let told = assembler.push(event(15, 1, end_of_kill(1)));
    assert_eq!(stages(&told), [Stage::Complete]);
    assert!(!assembler.is_waiting());
}

#[test]
fn one_that_stays_is_overdue_at_the_deadline_and_not_before() {
    let (mut assembler, _) = killed(ALL);
    assembler.push(event(2_000, 0, after(ReapingStarted, 0, 0)));
    assembler.push(event(2_100, 0, after(ReapingStarted, 0, 0)));
    assembler.push(event(2_200, 0, after(ReapingFinished, 0, 0)));
    assert!(assembler.due((13 + DEADLINE_MS - 1) * MS).is_empty());
    let closed = assembler.due((13 + DEADLINE_MS) * MS);
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(closed[0].is_overdue);
    // The first of several tries.
    assert_eq!(closed[0].reap_and_exit[&100].reaping_started_ns, Some(2_000 * MS));
    assert_eq!(closed[0].reap_and_exit[&100].reaping_finished_ns, Some(2_200 * MS));
    assert!(!assembler.is_waiting());
}

#[test]
fn at_the_end_of_the_run_nobody_is_called_stuck() {
    let (mut assembler, _) = killed(ALL);
    let closed = assembler.finish();
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(!closed[0].is_overdue);
}

#[test]
fn what_cannot_be_seen_is_not_waited_for() {
    let (_, told) = killed(Visible::default());
    assert_eq!(stages(&told), [Stage::Complete]);
    let (mut assembler, told) = killed(Visible { exits: true, freeing: false });
    assert_eq!(stages(&told), [Stage::Provisional]);
    assert_eq!(stages(&assembler.push(event(20, 0, after(Exited, 100, 0)))), [Stage::Final]);
}

#[test]
fn who_shares_a_victims_memory_gets_it_back_with_it_and_is_not_waited_for() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(12, 1, sharer(101, 1)));
    assembler.push(event(13, 1, end_of_kill(1)));
    assembler.push(event(20, 0, after(Exited, 100, 1)));
    let closed = assembler.push(event(30, 1, after(Freed, 100, 1)));
    assert_eq!(stages(&closed), [Stage::Final]);
    assert_eq!(closed[0].reap_and_exit[&101].freed_ns, Some(30 * MS));
}

#[test]
fn another_invocation_of_the_same_process_id_is_not_meant() {
    let (mut assembler, _) = killed(ALL);
    assembler.push(event(50, 2, invocation()));
    assembler.push(event(51, 2, victim_with(100, 2)));
    assembler.push(event(52, 2, end_of_kill(1)));
    // The later one exits; the memory of the earlier one comes back.
    assembler.push(event(60, 0, after(Exited, 100, 0)));
    assert!(assembler.push(event(61, 1, after(Freed, 100, 1))).is_empty());
    let closed = assembler.push(event(62, 2, after(Freed, 100, 2)));
    assert_eq!(closed[0].seq, 2);
}

#[test]
fn a_task_that_waits_is_told_when_it_begins_and_when_it_ends() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    let told = assembler.push(event(10, 0, wait(100, false)));
    assert_eq!((told.len(), told[0].wait_ended_ns), (1, None));
    assert_eq!(assembler.waiting_tasks(), [100]);
    let ended = assembler.push(event(900, 0, wait(100, true)));
    assert_eq!((ended[0].first_ns, ended[0].wait_ended_ns), (10 * MS, Some(900 * MS)));
    assert!(!assembler.is_waiting());
    // The end of one that is not known says nothing.
    assert!(assembler.push(event(901, 0, wait(100, true))).is_empty());
}

#[test]
fn an_exit_that_went_unseen_is_not_waited_for_long() {
    let (mut assembler, _) = killed(ALL);
    assert!(assembler.push(event(20, 1, after(Freed, 100, 1))).is_empty());
    assert!(assembler.due((13 + 1_999) * MS).is_empty());
    let closed = assembler.due((13 + 2_000) * MS);
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(!closed[0].is_overdue);
}

#[test]
fn a_report_that_waits_for_names_is_closed_with_them_and_not_before() {
    let (mut assembler, _) = killed(ALL);
    assembler.wait_for(1);
    assembler.push(event(20, 0, after(Exited, 100, 1)));
    assert!(assembler.push(event(30, 0, after(Freed, 100, 1))).is_empty());
    assert!(assembler.due(20_000 * MS).is_empty() && assembler.is_waiting());
    let closed = assembler.settle(1);
    assert_eq!(closed.map(|account| account.stage), Some(Stage::Final));
    assert!(assembler.settle(1).is_none() && !assembler.is_waiting());
    // Names that come before the victim is gone put nothing off.
    let (mut assembler, _) = killed(ALL);
    assembler.wait_for(1);
    assert!(assembler.settle(1).is_none());
    assembler.push(event(20, 0, after(Exited, 100, 1)));
    assert_eq!(stages(&assembler.push(event(30, 0, after(Freed, 100, 1)))), [Stage::Final]);
}

#[test]
fn who_is_gone_at_the_end_is_told_at_once_and_closed_with_names() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.wait_for(1);
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(13, 0, after(Exited, 100, 1)));
    assembler.push(event(14, 1, after(Freed, 100, 1)));
    let told = assembler.push(event(15, 1, end_of_kill(1)));
    assert_eq!(stages(&told), [Stage::Provisional]);
    assert_eq!(assembler.settle(1).map(|account| account.stage), Some(Stage::Final));
}
