//! How it ended, and why that one: as tables.

use super::{
    compose, kill,
    parts::{account, choice, end, host, invocation, task, victim},
    report,
};
use crate::model::{
    account::InvocationAccount,
    events::{
        Chosen::{self, Aborted, Nobody, Task, Unknown},
        End, Invocation, Name,
    },
    facts::Findings,
    report::{
        Constraint,
        Outcome::{self, AlreadyExiting, Killed, NoVictim, Reclaimed, VictimPending, WillFreeMem},
        Reason::{self, AllocatingTask, Selection, Sysrq},
    },
};

fn outcome(end: End) -> Outcome {
    report(&account(invocation(), end)).outcome
}

#[test]
fn outcome_follows_from_calls_and_marks() {
    for (kill_calls, oom_kill_calls, victims, expected) in [
        (1, Some(1), 1, Killed),
        (1, None, 1, Killed),
        (1, Some(4), 4, Killed),
        // Found nobody to shoot: find_lock_task_mm() failed.
        (1, Some(1), 0, AlreadyExiting),
        (1, Some(0), 0, AlreadyExiting),
        (1, None, 0, AlreadyExiting),
        // Marked, not shot: it is dying by itself.
        (1, Some(0), 1, AlreadyExiting),
        (0, Some(0), 1, WillFreeMem),
        (0, None, 1, WillFreeMem),
    ] {
        for chosen in [Nobody, Task, Aborted, Unknown] {
            for (result, selected) in [(false, false), (false, true), (true, false), (true, true)] {
                let end =
                    End { result, chosen, oom_kill_calls, selected, ..end(kill_calls, victims) };
                let what = format!("{end:?}");
                assert_eq!(outcome(end), expected, "{what}");
            }
        }
    }
}

#[test]
fn the_outcome_of_an_invocation_that_touched_nobody_follows_from_the_choice() {
    for (chosen, selected, expected) in [
        (Aborted, true, VictimPending),
        (Aborted, false, VictimPending),
        (Nobody, true, NoVictim),
        (Nobody, false, Reclaimed),
        (Task, true, Outcome::Unknown),
        (Task, false, Outcome::Unknown),
        (Unknown, true, Outcome::Unknown),
        (Unknown, false, Outcome::Unknown),
    ] {
        let end =
            |chosen: Chosen, oom_kill_calls| End { chosen, oom_kill_calls, selected, ..end(0, 0) };
        assert_eq!(outcome(end(chosen, None)), expected, "{chosen:?} {selected}");
        assert_eq!(outcome(end(chosen, Some(0))), expected, "{chosen:?} {selected}");
    }
}

#[test]
fn without_the_end_the_outcome_is_what_the_other_records_say() {
    let lost = |invocation: Option<Invocation>, victims| {
        let account = InvocationAccount { invocation, victims, ..InvocationAccount::default() };
        report(&account).outcome
    };
    let marked = || vec![(1, victim(100))];
    assert_eq!(lost(Some(choice(100)), marked()), Killed);
    assert_eq!(lost(None, marked()), Killed);
    // Nobody was chosen, so it was not shot.
    assert_eq!(lost(Some(invocation()), marked()), WillFreeMem);
    assert_eq!(lost(Some(choice(100)), Vec::new()), Outcome::Unknown);
    assert_eq!(lost(None, Vec::new()), Outcome::Unknown);
}

#[test]
fn without_the_hook_on_mark_victim_nobody_is_said_to_have_been_spared() {
    let mut host = host();
    host.hooks.clear();
    let nobody = |selected| End { chosen: Nobody, selected, ..end(0, 0) };
    for (end, expected) in [
        (end(1, 0), Outcome::Unknown),
        (end(1, 1), Killed),
        (nobody(false), Outcome::Unknown),
        (nobody(true), NoVictim),
    ] {
        let account = account(choice(100), end);
        let report = compose(&account, &host, &Findings::default());
        assert_eq!(report.outcome, expected, "{:?}", account.end);
    }
}

/// Changes the invocation of a kill and expects this reason.
#[track_caller]
fn check_reason(change: impl FnOnce(&mut Invocation), expected: Option<Reason>) {
    let mut account = kill();
    account.candidates = None;
    change(account.invocation.as_mut().unwrap());
    assert_eq!(report(&account).reason, expected);
}

#[test]
fn the_reason_follows_from_order_words_and_weighing() {
    let order = |it: &mut Invocation, order| it.control.as_mut().unwrap().order = order;
    let points = |it: &mut Invocation, points| it.control.as_mut().unwrap().chosen_points = points;
    check_reason(|_| {}, Some(Selection));
    check_reason(|it| order(it, -1), Some(Sysrq));
    let words = b"Out of memory (oom_kill_allocating_task)";
    check_reason(|it| it.message = Some(Name(words.to_vec())), Some(AllocatingTask));
    // Under lockdown the words are hidden: it was not weighed, has no points, and chose itself.
    let unweighed = |it: &mut Invocation| {
        it.message = None;
        it.considered = 0;
        points(it, 0);
    };
    check_reason(unweighed, Some(AllocatingTask));
    let weighed: [fn(&mut Invocation); 4] = [
        |it| it.message = Some(Name(b"Memory cgroup out of memory".to_vec())),
        |it| it.considered = 3,
        |it| it.control.as_mut().unwrap().chosen_points = 12,
        |it| it.chosen = Some(task(7)),
    ];
    for change in weighed {
        check_reason(
            |it| {
                unweighed(it);
                change(it);
            },
            Some(Selection),
        );
    }
    check_reason(|it| it.chosen = None, None);
    check_reason(|it| it.control = None, None);
    check_reason(|it| it.choice_made = false, None);
}

#[test]
fn the_constraint_is_a_word_and_an_unknown_one_is_absent() {
    for (value, expected) in [
        (0, Some(Constraint::None)),
        (1, Some(Constraint::Cpuset)),
        (2, Some(Constraint::MemoryPolicy)),
        (3, Some(Constraint::Memcg)),
        (4, None),
        (u32::MAX, None),
    ] {
        let mut account = kill();
        let control = &mut account.invocation.as_mut().unwrap().control;
        control.as_mut().unwrap().constraint = value;
        assert_eq!(report(&account).constraint, expected);
    }
}
