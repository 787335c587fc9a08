//! Scripts of kills, losses and readings, and the gaps that follow from them.

use super::{Gap, Gaps, Reading, kills};
use crate::{
    model::{
        account::{Account, InvocationAccount, MarkAccount},
        events::{Chosen, End, Mark},
    },
    pipeline::assemble::InFlight,
};

const MS: u64 = 1_000_000;

enum Step {
    /// An invocation ended after this many calls of `__oom_kill_process`.
    Saw(u32),
    /// This many records were lost.
    Lost(u64),
    /// Time in ms, and the number of kills that the kernel has counted.
    Read(u64, u64),
    /// The same while an invocation is open that has killed.
    ReadInFlight(u64, u64),
    /// The same while one is open that has not.
    ReadBefore(u64, u64),
    /// The same at the end.
    ReadLast(u64, u64),
}

use Step::{Lost, Read, ReadBefore, ReadInFlight, ReadLast, Saw};

fn end(kill_calls: u32, oom_kill_calls: Option<u32>, victims: u32) -> Account {
    let end = End {
        result: Some(true),
        chosen: Some(Chosen::Task),
        kill_calls,
        oom_kill_calls,
        victims,
        selected: Some(true),
        facts: None,
        processes: None,
    };
    InvocationAccount { end: Some(end), ..InvocationAccount::default() }.into()
}

fn marked(marks: u32) -> InvocationAccount {
    InvocationAccount { marks, ..InvocationAccount::default() }
}

/// Gaps as (ms, expected, seen, drops, since ms), and whether more readings are wanted.
fn run(script: &[Step]) -> (Vec<[u64; 5]>, bool) {
    let mut gaps = Gaps::default();
    let mut gaps_found = Vec::new();
    for step in script {
        let (ms, kills) = match *step {
            Read(ms, kills)
            | ReadInFlight(ms, kills)
            | ReadBefore(ms, kills)
            | ReadLast(ms, kills) => (ms, kills),
            Saw(calls) => {
                gaps.add(kills(&end(1, Some(calls), 1)));
                continue;
            }
            Lost(records) => {
                gaps.lost(records);
                continue;
            }
        };
        let reading = Reading { kills, at_ns: ms * MS };
        let gap = match step {
            ReadLast(..) => gaps.last_check(reading),
            ReadInFlight(..) => gaps.check(reading, InFlight::Kills),
            ReadBefore(..) => gaps.check(reading, InFlight::Choice),
            _ => gaps.check(reading, InFlight::Nothing),
        };
        if let Some(gap) = gap {
            let Gap { expected, seen, drops, since_ns, at_ns } = gap;
            gaps_found.push([at_ns / MS, expected, seen, drops, since_ns / MS]);
        }
    }
    (gaps_found, gaps.is_waiting())
}

#[track_caller]
fn check(script: &[Step], expected: &[[u64; 5]]) {
    let (gaps, is_waiting) = run(script);
    assert_eq!(gaps, expected);
    assert!(!is_waiting, "nothing is left to explain");
}

#[test]
fn kills_before_start_are_ignored() {
    check(&[Read(0, 1000), Read(5000, 1000), Read(9000, 1000)], &[]);
}

#[test]
fn kills_all_seen_make_no_gap() {
    check(&[Read(0, 7), Saw(1), Read(100, 8), Saw(1), Saw(3), Read(200, 12), Read(9000, 12)], &[]);
}

#[test]
fn invocation_before_its_kill_delays_no_gap_and_is_none() {
    check(
        &[Read(0, 7), ReadBefore(100, 8), ReadBefore(1100, 8), Saw(1), Read(1200, 9)],
        &[[1100, 1, 0, 0, 0]],
    );
    // Its kill is counted, and its record comes a moment later.
    check(
        &[
            Read(0, 7),
            ReadBefore(100, 7),
            ReadBefore(200, 8),
            ReadInFlight(1300, 8),
            Saw(1),
            Read(1400, 8),
        ],
        &[],
    );
}

#[test]
fn kill_that_never_arrives_is_reported_after_settling() {
    check(
        &[Read(0, 7), Read(100, 8), Read(1099, 8), Read(1100, 8), Read(3000, 8)],
        &[[1100, 1, 0, 0, 0]],
    );
    // Time counts from the last reading at which all was well.
    check(
        &[Read(0, 7), Saw(1), Read(100, 8), Read(600_000, 10), Read(601_000, 10)],
        &[[601_000, 2, 0, 0, 100]],
    );
}

#[test]
fn kill_in_flight_is_no_gap() {
    // Counted before its records come.
    check(&[Read(0, 7), Read(100, 8), Saw(1), Read(1100, 8)], &[]);
    // Its invocation is open: the kernel prints to a slow console.
    check(
        &[Read(0, 7), ReadInFlight(100, 8), ReadInFlight(60_000, 9), Saw(2), Read(61_000, 9)],
        &[],
    );
}

#[test]
fn storm_with_kill_in_flight_at_every_reading_makes_no_gap() {
    let mut script = vec![Read(0, 0)];
    for kill in 1..100 {
        script.extend([Saw(1), Read(kill * 300, kill + 1)]);
    }
    script.extend([Saw(1), Read(99 * 300 + 1, 100)]);
    check(&script, &[]);
}

#[test]
fn gap_in_storm_is_reported_exactly_after_storm() {
    let mut script = vec![Read(0, 0), Lost(40)];
    for kill in 1..100 {
        script.extend([Saw(1), Read(kill * 100, kill + 5)]);
    }
    script.extend([Read(9_999, 104), Read(10_899, 104), Read(10_900, 104)]);
    check(&script, &[[10_900, 104, 99, 40, 0]]);
}

#[test]
fn consecutive_missed_kills_are_each_reported_once() {
    check(
        &[Read(0, 0), Read(1000, 1), Read(2000, 2), Read(3000, 3), Read(4000, 3), Read(9000, 3)],
        &[[2000, 1, 0, 0, 0], [3000, 1, 0, 0, 1000], [4000, 1, 0, 0, 2000]],
    );
}

#[test]
fn late_kill_does_not_hide_next_gap() {
    check(
        &[
            Read(0, 0),
            Read(100, 1),
            Read(1100, 1),
            // It is reported already, so the counts differ the other way once.
            Saw(1),
            Read(1200, 1),
            Read(5000, 2),
            Read(6000, 2),
        ],
        &[[1100, 1, 0, 0, 0], [6000, 1, 0, 0, 1200]],
    );
}

#[test]
fn lost_records_are_reported_with_gap_of_their_time() {
    check(
        &[
            Read(0, 0),
            Lost(3),
            Saw(1),
            Read(100, 1),
            Lost(2),
            Read(200, 2),
            Read(1200, 2),
            Read(2000, 3),
            Read(3000, 3),
        ],
        &[[1200, 1, 0, 2, 100], [3000, 1, 0, 0, 1200]],
    );
}

#[test]
fn call_that_freed_nothing_hides_gap_until_next_comparison() {
    check(
        &[Read(0, 0), Saw(1), Saw(1), Read(100, 1), Read(5000, 2), Read(6000, 2)],
        &[[6000, 1, 0, 0, 100]],
    );
}

#[test]
fn gap_hidden_by_lost_end_is_reported_at_last_check() {
    // The account that was left open is closed, with one victim.
    let script = [
        Read(0, 0),
        Lost(9),
        ReadInFlight(100, 3),
        ReadInFlight(1100, 3),
        Saw(1),
        ReadLast(1200, 3),
    ];
    check(&script, &[[1200, 3, 1, 9, 0]]);
    // It explains the difference.
    let (gaps, _) = run(&[Read(0, 0), ReadInFlight(100, 1), Saw(1), ReadLast(1200, 1)]);
    assert!(gaps.is_empty());
    // Kills that had no time to arrive are not reported.
    let (gaps, _) = run(&[Read(0, 0), ReadInFlight(500, 1), ReadLast(1200, 1)]);
    assert!(gaps.is_empty());
}

#[test]
fn readings_are_wanted_while_kills_are_unexplained() {
    let waits = |script: &[Step]| run(script).1;
    assert!(!waits(&[Saw(1)]), "without a first reading there is nothing to compare with");
    assert!(!waits(&[Read(0, 0)]));
    assert!(waits(&[Read(0, 0), Saw(0)]));
    assert!(waits(&[Read(0, 0), Lost(1)]));
    assert!(waits(&[Read(0, 0), Read(1, 1)]));
    assert!(waits(&[Read(0, 0), Saw(1), ReadInFlight(1, 1)]));
}

#[test]
fn kills_are_counted_as_in_the_kernel() {
    // No victim; a trigger that was dying anyway; one victim; a group of two, whose first counts
    // twice.
    assert_eq!(kills(&end(0, Some(0), 0)), 0);
    assert_eq!(kills(&end(0, Some(0), 1)), 0);
    assert_eq!(kills(&end(1, Some(0), 1)), 0);
    assert_eq!(kills(&end(1, Some(1), 1)), 1);
    assert_eq!(kills(&end(1, Some(3), 2)), 3);
    // __oom_kill_process is not hooked.
    assert_eq!(kills(&end(0, None, 1)), 0);
    assert_eq!(kills(&end(1, None, 0)), 1);
    assert_eq!(kills(&end(1, None, 1)), 1);
    assert_eq!(kills(&end(1, None, 2)), 3);
    // The end was lost.
    assert_eq!(kills(&marked(0).into()), 0);
    assert_eq!(kills(&marked(1).into()), 1);
    assert_eq!(kills(&marked(2).into()), 3);
    // There is a mark and no end, and perhaps no record of the victim.
    for marks in [0, 1] {
        let mark = Mark { tid: 1, fields: None };
        let account = MarkAccount { mark, invocation: marked(marks) };
        assert_eq!(kills(&Account::Mark(Box::new(account))), 1);
    }
}
