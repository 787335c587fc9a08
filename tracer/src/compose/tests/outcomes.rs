//! Outcomes and reasons, as tables.

use super::{
    compose, kill,
    parts::{account, choice, end, host, invocation, task, victim},
    report,
};
use crate::model::{
    account::InvocationAccount,
    events::{
        Chosen::{self, Aborted, Nobody, Task, Unknown},
        End, EndFacts, Invocation, Name,
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
fn outcome_follows_from_calls_kills_and_marks() {
    for (kill_calls, oom_kill_calls, victims, expected) in [
        (1, Some(1), 1, Killed),
        (1, None, 1, Killed),
        (1, Some(4), 4, Killed),
        // No thread with memory was left: find_lock_task_mm() failed.
        (1, Some(1), 0, AlreadyExiting),
        (1, Some(0), 0, AlreadyExiting),
        (1, None, 0, AlreadyExiting),
        // Marked, not killed: it was exiting by itself.
        (1, Some(0), 1, AlreadyExiting),
        (0, Some(0), 1, WillFreeMem),
        (0, None, 1, WillFreeMem),
    ] {
        for chosen in [Nobody, Task, Aborted, Unknown] {
            for (result, selected) in [(false, false), (false, true), (true, false), (true, true)] {
                let (result, chosen, selected) = (Some(result), Some(chosen), Some(selected));
                let end =
                    End { result, chosen, oom_kill_calls, selected, ..end(kill_calls, victims) };
                let what = format!("{end:?}");
                assert_eq!(outcome(end), expected, "{what}");
            }
        }
    }
}

#[test]
fn outcome_without_marks_follows_from_choice() {
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
        let end = |chosen: Chosen, oom_kill_calls| {
            let (chosen, selected) = (Some(chosen), Some(selected));
            End { chosen, oom_kill_calls, selected, ..end(0, 0) }
        };
        assert_eq!(outcome(end(chosen, None)), expected, "{chosen:?} {selected}");
        assert_eq!(outcome(end(chosen, Some(0))), expected, "{chosen:?} {selected}");
    }
}

/// The facts of a memcg, or of the host without notifiers, none of which ends an invocation.
fn facts(is_memcg: bool) -> EndFacts {
    EndFacts {
        trigger_is_victim: Some(false),
        trigger_is_dying: Some(false),
        suspended: Some(false),
        has_notifiers: (!is_memcg).then_some(false),
        without_fs: Some(false),
        is_memcg: Some(is_memcg),
        evaluated: Some(false),
        printed: Some(false),
    }
}

#[test]
fn outcome_without_marks_follows_from_facts() {
    let (yes, no) = (Some(true), Some(false));
    let (memcg, host) = (facts(true), facts(false));
    let is_dying = |facts| EndFacts { trigger_is_victim: yes, trigger_is_dying: yes, ..facts };
    for (facts, expected) in [
        (memcg, VictimPending),
        (EndFacts { evaluated: yes, ..memcg }, VictimPending),
        (EndFacts { evaluated: yes, printed: yes, ..memcg }, NoVictim),
        // Nothing shows whether the kernel printed its report.
        (EndFacts { printed: None, ..memcg }, Outcome::Unknown),
        (is_dying(memcg), WillFreeMem),
        // The trigger is the victim that the selection found.
        (EndFacts { evaluated: yes, ..is_dying(memcg) }, VictimPending),
        (EndFacts { suspended: yes, ..memcg }, Outcome::Suspended),
        // The limit of a memcg is enforced for every allocation.
        (EndFacts { without_fs: yes, ..memcg }, VictimPending),
        (EndFacts { evaluated: yes, ..host }, VictimPending),
        (host, VictimPending),
        (EndFacts { has_notifiers: yes, ..host }, Reclaimed),
        (EndFacts { has_notifiers: None, ..host }, Outcome::Unknown),
        (EndFacts { has_notifiers: yes, evaluated: None, ..host }, Outcome::Unknown),
        (EndFacts { without_fs: yes, ..host }, Outcome::NotAllowed),
        (EndFacts { without_fs: yes, ..is_dying(host) }, WillFreeMem),
        (EndFacts { suspended: yes, without_fs: yes, ..host }, Outcome::Suspended),
        (EndFacts { is_memcg: None, has_notifiers: no, ..host }, Outcome::Unknown),
    ] {
        let end = End { facts: Some(facts), ..End::default() };
        assert_eq!(outcome(end), expected, "{facts:?}");
    }
    // A mark after a selection: the kernel skipped the probe of the choice.
    let marked = |evaluated| {
        let facts = Some(EndFacts { evaluated, ..memcg });
        outcome(End { facts, ..end(0, 1) })
    };
    assert_eq!(
        (marked(yes), marked(no), marked(None)),
        (Outcome::Unknown, WillFreeMem, WillFreeMem)
    );
    let mut sysrq = invocation();
    sysrq.control.as_mut().unwrap().order = -1;
    let end = End { facts: Some(EndFacts { evaluated: yes, ..host }), ..End::default() };
    assert_eq!(report(&account(sysrq, end)).outcome, NoVictim);
}

#[test]
fn outcome_without_end_follows_from_other_records() {
    let lost = |invocation: Option<Invocation>, victims: Vec<_>| {
        let victims = victims.into();
        let account = InvocationAccount { invocation, victims, ..InvocationAccount::default() };
        report(&account).outcome
    };
    let marked = || vec![(1, victim(100))];
    assert_eq!(lost(Some(choice(100)), marked()), Killed);
    assert_eq!(lost(None, marked()), Killed);
    // No process was chosen, so it was not killed.
    assert_eq!(lost(Some(invocation()), marked()), WillFreeMem);
    assert_eq!(lost(Some(choice(100)), Vec::new()), Outcome::Unknown);
    assert_eq!(lost(None, Vec::new()), Outcome::Unknown);
}

#[test]
fn outcome_without_mark_victim_hook_is_unknown() {
    let mut host = host();
    host.hooks.clear();
    let nobody = |selected| End { chosen: Some(Nobody), selected: Some(selected), ..end(0, 0) };
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
fn reason_follows_from_order_message_and_candidates() {
    let order = |it: &mut Invocation, order| it.control.as_mut().unwrap().order = order;
    let points = |it: &mut Invocation, points| it.control.as_mut().unwrap().chosen_points = points;
    check_reason(|_| {}, Some(Selection));
    check_reason(|it| order(it, -1), Some(Sysrq));
    let words = b"Out of memory (oom_kill_allocating_task)";
    check_reason(|it| it.message = Some(Name(words.to_vec())), Some(AllocatingTask));
    // Under lockdown the message is hidden: no candidates, no points, and the trigger chosen.
    let by_itself = |it: &mut Invocation| {
        it.message = None;
        it.considered = 0;
        points(it, 0);
    };
    check_reason(by_itself, Some(AllocatingTask));
    let by_selection: [fn(&mut Invocation); 4] = [
        |it| it.message = Some(Name(b"Memory cgroup out of memory".to_vec())),
        |it| it.considered = 3,
        |it| it.control.as_mut().unwrap().chosen_points = 12,
        |it| it.chosen = Some(task(7)),
    ];
    for change in by_selection {
        check_reason(
            |it| {
                by_itself(it);
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
fn constraint_that_is_unknown_is_absent() {
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
        control.as_mut().unwrap().constraint = Some(value);
        assert_eq!(report(&account).constraint, expected);
    }
}
