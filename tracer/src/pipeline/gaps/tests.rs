//! Scripts of kills, losses and readings, and the gaps that they make.

use super::{Gap, Gaps, Reading, kills};
use crate::{
    model::{
        account::Account,
        events::{Chosen, End},
    },
    pipeline::assemble::Amid,
};

const MS: u64 = 1_000_000;

enum Step {
    /// An invocation ended after so many calls of `__oom_kill_process`.
    Saw(u32),
    /// So many records were lost.
    Lost(u64),
    /// At so many ms the kernel has counted so many kills.
    Read(u64, u64),
    /// The same while an invocation is open that has killed.
    ReadAmid(u64, u64),
    /// The same while one is open that has not.
    ReadBefore(u64, u64),
    /// The same at the end.
    ReadLast(u64, u64),
}

use Step::{Lost, Read, ReadAmid, ReadBefore, ReadLast, Saw};

fn end(kill_calls: u32, shots: Option<u32>, victims: u32) -> Account {
    let end =
        End { result: true, chosen: Chosen::Task, kill_calls, shots, victims, selected: true };
    Account { end: Some(end), ..Account::default() }
}

/// Gaps as (ms, expected, seen, drops, since ms), and whether more readings are wanted.
fn run(script: &[Step]) -> (Vec<[u64; 5]>, bool) {
    let mut gaps = Gaps::default();
    let mut told = Vec::new();
    for step in script {
        let (ms, kills) = match *step {
            Read(ms, kills) | ReadAmid(ms, kills) | ReadBefore(ms, kills) | ReadLast(ms, kills) => {
                (ms, kills)
            }
            Saw(shots) => {
                gaps.saw(kills(&end(1, Some(shots), 1)));
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
            ReadAmid(..) => gaps.check(reading, Amid::Kills),
            ReadBefore(..) => gaps.check(reading, Amid::Choice),
            _ => gaps.check(reading, Amid::Nothing),
        };
        if let Some(gap) = gap {
            let Gap { expected, seen, drops, since_ns, at_ns } = gap;
            told.push([at_ns / MS, expected, seen, drops, since_ns / MS]);
        }
    }
    (told, gaps.is_waiting())
}

#[track_caller]
fn check(script: &[Step], expected: &[[u64; 5]]) {
    let (told, is_waiting) = run(script);
    assert_eq!(told, expected);
    assert!(!is_waiting, "nothing is left to explain");
}

#[test]
fn kills_before_the_start_are_nobodys_business() {
    check(&[Read(0, 1000), Read(5000, 1000), Read(9000, 1000)], &[]);
}

#[test]
fn kills_that_were_all_seen_make_no_gap() {
    check(&[Read(0, 7), Saw(1), Read(100, 8), Saw(1), Saw(3), Read(200, 12), Read(9000, 12)], &[]);
}

#[test]
fn an_invocation_that_has_not_killed_yet_holds_no_gap_back_and_its_kill_is_none() {
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
            ReadAmid(1300, 8),
            Saw(1),
            Read(1400, 8),
        ],
        &[],
    );
}

#[test]
fn a_kill_that_never_comes_is_told_when_it_had_the_time() {
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
fn a_kill_in_flight_is_no_gap() {
    // Counted before its records come.
    check(&[Read(0, 7), Read(100, 8), Saw(1), Read(1100, 8)], &[]);
    // Its invocation is open: the kernel prints to a slow console.
    check(&[Read(0, 7), ReadAmid(100, 8), ReadAmid(60_000, 9), Saw(2), Read(61_000, 9)], &[]);
}

#[test]
fn a_storm_in_which_every_reading_meets_a_kill_in_flight_is_no_gap() {
    let mut script = vec![Read(0, 0)];
    for kill in 1..100 {
        script.extend([Saw(1), Read(kill * 300, kill + 1)]);
    }
    script.extend([Saw(1), Read(99 * 300 + 1, 100)]);
    check(&script, &[]);
}

#[test]
fn a_gap_in_a_storm_is_told_when_the_storm_is_over_and_is_exact() {
    let mut script = vec![Read(0, 0), Lost(40)];
    for kill in 1..100 {
        script.extend([Saw(1), Read(kill * 100, kill + 5)]);
    }
    script.extend([Read(9_999, 104), Read(10_899, 104), Read(10_900, 104)]);
    check(&script, &[[10_900, 104, 99, 40, 0]]);
}

#[test]
fn kills_that_are_missed_one_after_the_other_are_all_told_once() {
    check(
        &[Read(0, 0), Read(1000, 1), Read(2000, 2), Read(3000, 3), Read(4000, 3), Read(9000, 3)],
        &[[2000, 1, 0, 0, 0], [3000, 1, 0, 0, 1000], [4000, 1, 0, 0, 2000]],
    );
}

#[test]
fn a_kill_that_arrives_after_all_does_not_hide_the_next_gap() {
    check(
        &[
            Read(0, 0),
            Read(100, 1),
            Read(1100, 1),
            // Told already: the counts disagree the other way, for once.
            Saw(1),
            Read(1200, 1),
            Read(5000, 2),
            Read(6000, 2),
        ],
        &[[1100, 1, 0, 0, 0], [6000, 1, 0, 0, 1200]],
    );
}

#[test]
fn records_lost_are_told_with_the_gap_of_their_time_only() {
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
fn a_call_that_freed_nothing_hides_a_gap_until_the_next_comparison_only() {
    check(
        &[Read(0, 0), Saw(1), Saw(1), Read(100, 1), Read(5000, 2), Read(6000, 2)],
        &[[6000, 1, 0, 0, 100]],
    );
}

#[test]
fn the_end_tells_what_could_not_be_told_because_an_end_was_lost() {
    // The account that was left open is closed, with one victim.
    let script =
        [Read(0, 0), Lost(9), ReadAmid(100, 3), ReadAmid(1100, 3), Saw(1), ReadLast(1200, 3)];
    check(&script, &[[1200, 3, 1, 9, 0]]);
    // It explains the difference.
    let (told, _) = run(&[Read(0, 0), ReadAmid(100, 1), Saw(1), ReadLast(1200, 1)]);
    assert!(told.is_empty());
    // What had no time to arrive is not told.
    let (told, _) = run(&[Read(0, 0), ReadAmid(500, 1), ReadLast(1200, 1)]);
    assert!(told.is_empty());
}

#[test]
fn readings_are_wanted_while_something_is_unexplained() {
    let waits = |script: &[Step]| run(script).1;
    assert!(!waits(&[Saw(1)]), "without a first reading there is nothing to compare with");
    assert!(!waits(&[Read(0, 0)]));
    assert!(waits(&[Read(0, 0), Saw(0)]));
    assert!(waits(&[Read(0, 0), Lost(1)]));
    assert!(waits(&[Read(0, 0), Read(1, 1)]));
    assert!(waits(&[Read(0, 0), Saw(1), ReadAmid(1, 1)]));
}

#[test]
fn kills_are_counted_as_the_kernel_does() {
    // Nobody, the trigger was dying anyway, one, a group of two whose first is shot twice.
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
    // The end was lost, and with it perhaps everything.
    assert_eq!(kills(&Account::default()), 0);
    assert_eq!(kills(&Account { marks: 1, ..Account::default() }), 1);
    assert_eq!(kills(&Account { marks: 2, ..Account::default() }), 3);
}
