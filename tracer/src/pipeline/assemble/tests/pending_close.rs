//! Kills are reported at once, and again when their victims are gone or the deadline passed.

use super::script::{MS, end_of_kill, event, gone, invocation, mm_sharer, victim_with, wait};
use crate::{
    model::{
        account::{Account, InvocationAccount, Stage, UnseenEnd, WaitAccount},
        events::VictimGoneStep::{Exited, Freed, ReapingFinished, ReapingStarted},
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
    let reported = assembler.push(event(13, 1, end_of_kill(1)));
    (assembler, reported)
}

fn stages(accounts: &[Account]) -> Vec<Stage> {
    accounts.iter().map(Account::stage).collect()
}

/// The first account, which must be that of an invocation.
fn first(accounts: &[Account]) -> &InvocationAccount {
    accounts[0].invocation().unwrap()
}

fn waiting(accounts: &[Account]) -> &WaitAccount {
    let [Account::Wait(account)] = accounts else {
        panic!("{accounts:?}");
    };
    account
}

#[test]
fn kill_is_reported_before_victim_exits_and_closed_after_its_memory_is_back() {
    // Which comes first depends on the kernel.
    for [earlier, later] in [[Exited, Freed], [Freed, Exited]] {
        let (mut assembler, reported) = killed(ALL);
        assert_eq!(stages(&reported), [Stage::Provisional]);
        assert_eq!(reported[0].revision(), 1);
        assert!(assembler.push(event(20, 0, gone(earlier, 100, 1))).is_empty());
        assert!(assembler.is_waiting());
        let closed = assembler.push(event(30, 0, gone(later, 100, 1)));
        assert_eq!(stages(&closed), [Stage::Final]);
        assert_eq!(closed[0].revision(), 2);
        let end = &first(&closed).reap_and_exit[&100];
        let mut times = [end.exited_ns, end.freed_ns];
        times.sort_unstable();
        assert_eq!(times, [Some(20 * MS), Some(30 * MS)]);
        assert!(!assembler.is_waiting());
        assert!(!first(&closed).is_overdue);
    }
}

#[test]
fn exit_before_the_end_of_the_invocation_counts() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(13, 0, gone(Exited, 100, 1)));
    assembler.push(event(14, 1, gone(Freed, 100, 1)));
    let reported = assembler.push(event(15, 1, end_of_kill(1)));
    assert_eq!(stages(&reported), [Stage::Complete]);
    assert!(!assembler.is_waiting());
}

#[test]
fn remaining_victim_of_replaced_probes_is_marked_so() {
    let (mut assembler, _) = killed(ALL);
    assembler.replace();
    let closed = assembler.finish();
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(first(&closed).is_replaced && !first(&closed).is_overdue);
}

#[test]
fn remaining_victim_is_overdue_at_the_deadline() {
    let (mut assembler, _) = killed(ALL);
    assembler.push(event(2_000, 0, gone(ReapingStarted, 0, 0)));
    assembler.push(event(2_100, 0, gone(ReapingStarted, 0, 0)));
    assembler.push(event(2_200, 0, gone(ReapingFinished, 0, 0)));
    assert!(assembler.due((13 + DEADLINE_MS - 1) * MS).is_empty());
    let closed = assembler.due((13 + DEADLINE_MS) * MS);
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(first(&closed).is_overdue);
    // The first of several tries.
    assert_eq!(first(&closed).reap_and_exit[&100].reaping_started_ns, Some(2_000 * MS));
    assert_eq!(first(&closed).reap_and_exit[&100].reaping_finished_ns, Some(2_200 * MS));
    assert!(!assembler.is_waiting());
}

#[test]
fn victim_at_the_end_of_the_run_is_not_overdue() {
    let (mut assembler, _) = killed(ALL);
    let closed = assembler.finish();
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(!first(&closed).is_overdue);
}

#[test]
fn invisible_steps_are_not_waited_for() {
    let (_, reported) = killed(Visible::default());
    assert_eq!(stages(&reported), [Stage::Complete]);
    let (mut assembler, reported) = killed(Visible { exits: true, freeing: false });
    assert_eq!(stages(&reported), [Stage::Provisional]);
    assert_eq!(stages(&assembler.push(event(20, 0, gone(Exited, 100, 0)))), [Stage::Final]);
}

#[test]
fn mm_sharer_is_not_waited_for() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(12, 1, mm_sharer(101, 1)));
    assembler.push(event(13, 1, end_of_kill(1)));
    assembler.push(event(20, 0, gone(Exited, 100, 1)));
    let closed = assembler.push(event(30, 1, gone(Freed, 100, 1)));
    assert_eq!(stages(&closed), [Stage::Final]);
    assert_eq!(first(&closed).reap_and_exit[&101].freed_ns, Some(30 * MS));
}

#[test]
fn reused_process_id_belongs_to_latest_invocation() {
    let (mut assembler, _) = killed(ALL);
    assembler.push(event(50, 2, invocation()));
    assembler.push(event(51, 2, victim_with(100, 2)));
    assembler.push(event(52, 2, end_of_kill(1)));
    // The later process exits; the memory of the earlier one comes back.
    assembler.push(event(60, 0, gone(Exited, 100, 0)));
    assert!(assembler.push(event(61, 1, gone(Freed, 100, 1))).is_empty());
    let closed = assembler.push(event(62, 2, gone(Freed, 100, 2)));
    assert_eq!(first(&closed).seq, 2);
}

#[test]
fn waiting_task_is_reported_when_it_begins_and_ends() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    let reported = assembler.push(event(10, 0, wait(100, false)));
    assert_eq!((waiting(&reported).ended_ns, reported[0].revision()), (None, 1));
    assert_eq!(assembler.waiting_tasks(), [100]);
    let ended = assembler.push(event(900, 0, wait(100, true)));
    assert_eq!(ended[0].revision(), 2);
    let ended = waiting(&ended);
    assert_eq!((ended.first_ns, ended.ended_ns), (10 * MS, Some(900 * MS)));
    assert!(!assembler.is_waiting());
    // The end of an unknown wait is ignored.
    assert!(assembler.push(event(901, 0, wait(100, true))).is_empty());
}

#[test]
fn unseen_exit_is_not_waited_for_long() {
    let (mut assembler, _) = killed(ALL);
    assert!(assembler.push(event(20, 1, gone(Freed, 100, 1))).is_empty());
    assert!(assembler.due((13 + 1_999) * MS).is_empty());
    let closed = assembler.due((13 + 2_000) * MS);
    assert_eq!(stages(&closed), [Stage::Final]);
    assert!(!first(&closed).is_overdue);
}

#[test]
fn report_that_awaits_names_is_closed_with_them() {
    let (mut assembler, _) = killed(ALL);
    assembler.await_names(1);
    assembler.push(event(20, 0, gone(Exited, 100, 1)));
    assert!(assembler.push(event(30, 0, gone(Freed, 100, 1))).is_empty());
    assert!(assembler.due(20_000 * MS).is_empty() && assembler.is_waiting());
    let closed = assembler.names_ready(1);
    assert_eq!(closed.map(|account| account.stage()), Some(Stage::Final));
    assert!(assembler.names_ready(1).is_none() && !assembler.is_waiting());
    // Names that are found before the victim is gone delay nothing.
    let (mut assembler, _) = killed(ALL);
    assembler.await_names(1);
    assert!(assembler.names_ready(1).is_none());
    assembler.push(event(20, 0, gone(Exited, 100, 1)));
    assert_eq!(stages(&assembler.push(event(30, 0, gone(Freed, 100, 1)))), [Stage::Final]);
}

#[test]
fn victim_gone_before_the_end_is_reported_at_once_and_closed_with_names() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    assembler.push(event(10, 1, invocation()));
    assembler.await_names(1);
    assembler.push(event(12, 1, victim_with(100, 1)));
    assembler.push(event(13, 0, gone(Exited, 100, 1)));
    assembler.push(event(14, 1, gone(Freed, 100, 1)));
    let reported = assembler.push(event(15, 1, end_of_kill(1)));
    assert_eq!(stages(&reported), [Stage::Provisional]);
    assert_eq!(assembler.names_ready(1).map(|account| account.stage()), Some(Stage::Final));
}

#[test]
fn remaining_victim_is_not_overdue_if_its_end_may_have_passed_unseen() {
    type Note = fn(&mut Assembler, u64);
    let notes: [(Note, UnseenEnd); 2] = [
        (Assembler::note_loss, UnseenEnd::RecordLost),
        (Assembler::note_skip, UnseenEnd::ProbeSkipped),
    ];
    for (note, unseen_end) in notes {
        for (at_ms, is_unseen) in [(9, false), (10, true), (500, true)] {
            let (mut assembler, _) = killed(ALL);
            note(&mut assembler, at_ms * MS);
            let closed = assembler.due((13 + DEADLINE_MS) * MS);
            let closed = first(&closed);
            let expected = (!is_unseen, is_unseen.then_some(unseen_end));
            assert_eq!((closed.is_overdue, closed.unseen_end), expected, "{at_ms}");
        }
    }
    // A victim that was seen to be gone stays gone.
    let (mut assembler, _) = killed(ALL);
    assembler.note_loss(500 * MS);
    assembler.push(event(600, 0, gone(Freed, 100, 1)));
    let closed = assembler.due(3_000 * MS);
    assert!(!first(&closed).is_overdue && first(&closed).unseen_end.is_none());
}

#[test]
fn too_many_pending_accounts_close_the_oldest_as_it_is() {
    let mut assembler = Assembler::new(ALL, DEADLINE_MS * MS);
    let mut closed = Vec::new();
    for seq in 1..=2000 {
        assembler.push(event(10, seq, invocation()));
        assembler.push(event(10, seq, victim_with(100, 1)));
        let reported = assembler.push(event(10, seq, end_of_kill(1)));
        assert_eq!((reported[0].seq(), reported[0].stage()), (seq, Stage::Provisional));
        closed.extend(reported.into_iter().skip(1));
    }
    let first = first(&closed);
    assert_eq!((first.seq, first.stage, first.is_overdue), (1, Stage::Final, false));
    let left = assembler.finish();
    assert!(left.len() <= 1024 && left.len() + closed.len() == 2000, "{}", left.len());
    assert!(!assembler.is_waiting());
}
