//! Runs of invocations without a victim.

use super::{
    check,
    script::{
        Step::{self, Due, Finish, Say},
        end_of_kill, event, invocation, invocation_of, no_victim, repeats, victim,
    },
};
use crate::pipeline::assemble::Assembler;

/// The first of a run, in full.
fn first(ms: u64, seq: u64, oom_memcg: u64) -> [Step; 2] {
    [Say(ms, seq, invocation_of(oom_memcg)), Say(ms, seq, no_victim())]
}

/// The repeats that the kernel side reports while a run continues: the powers of two.
fn powers(start_ms: u64, seq: u64, count: u64) -> impl Iterator<Item = Step> {
    let counts = std::iter::successors(Some(2_u64), |count| Some(count * 2));
    counts
        .take_while(move |power| *power <= count)
        .zip(start_ms..)
        .map(move |(power, ms)| Say(ms, seq, repeats(power, ms)))
}

#[test]
fn write_to_memory_max_with_23648_invocations_is_one_account() {
    let mut script: Vec<Step> = first(10, 1, 7).into();
    script.extend(powers(11, 1, 23_648));
    script.extend([
        // Userspace reads the count since the latest power of two.
        Say(900, 1, repeats(23_648, 600)),
        Due(1000),
        Due(1800),
        Due(1900),
        Due(60_000),
        Finish,
    ]);
    check(script, &["1900: #1 since 10, invocation, end, repeats 23648 until 600"]);
}

#[test]
fn single_invocation_is_reported_without_repeats_after_settling() {
    let mut script: Vec<Step> = first(10, 1, 7).into();
    script.extend([Due(500), Due(1010), Due(2000), Finish]);
    check(script, &["1010: #1 since 10, invocation, end"]);
}

#[test]
fn run_that_never_settles_is_reported_every_ten_seconds() {
    let mut script: Vec<Step> = first(0, 1, 7).into();
    for tick in 1..=25 {
        script.extend([
            Say(tick * 1000 - 500, 1, repeats(tick * 10, tick * 1000 - 500)),
            Due(tick * 1000),
        ]);
    }
    script.push(Finish);
    check(
        script,
        &[
            "10000: #1 since 0, invocation, end, repeats 100 until 9500",
            "20000: #1 since 0, invocation, end, repeats 200 until 19500, reported before: 1",
            "finish: #1 since 0, invocation, end, repeats 250 until 24500, reported before: 2",
        ],
    );
}

/// The kernel side continues the same run until there was silence for ten seconds.
#[test]
fn continued_run_is_reported_again() {
    let mut script: Vec<Step> = first(0, 1, 7).into();
    script.extend([
        Due(1000),
        Say(3000, 1, repeats(2, 3000)),
        Due(4000),
        Say(9000, 1, repeats(3, 9000)),
        Due(10_000),
        Due(11_000),
        Due(18_999),
        Due(19_000),
        Finish,
    ]);
    check(
        script,
        &[
            "1000: #1 since 0, invocation, end",
            "11000: #1 since 0, invocation, end, repeats 3 until 9000, reported before: 1",
        ],
    );
}

#[test]
fn run_is_forgotten_when_kernel_side_has_ended_it() {
    let mut assembler = Assembler::default();
    assembler.push(event(0, 1, invocation()));
    assembler.push(event(0, 1, no_victim()));
    for (ms, reports, waiting) in
        [(999, 0, true), (1000, 1, true), (9999, 0, true), (10_000, 0, false)]
    {
        assert_eq!(assembler.due(ms * super::script::MS).len(), reports, "{ms}");
        assert_eq!(assembler.is_waiting(), waiting, "{ms}");
    }
}

#[test]
fn runs_of_two_memcgs_are_two_accounts() {
    let mut script: Vec<Step> = first(10, 1, 7).into();
    script.extend(first(20, 2, 8));
    script.extend([
        Say(30, 1, repeats(2, 30)),
        Say(40, 2, repeats(2, 40)),
        Say(50, 1, repeats(4, 50)),
        Due(1040),
        Due(1050),
    ]);
    check(
        script,
        &[
            "1040: #2 since 20, invocation, end, repeats 2 until 40",
            "1050: #1 since 10, invocation, end, repeats 4 until 50",
        ],
    );
    let mut assembler = Assembler::default();
    for (seq, memcg) in [(1, 7), (2, 8)] {
        assembler.push(event(10, seq, invocation_of(memcg)));
        assembler.push(event(10, seq, no_victim()));
    }
    let runs = assembler.runs_to_poll().into_iter().map(|run| (run.seq, run.oom_memcg));
    assert_eq!(runs.collect::<Vec<_>>(), [(1, 7), (2, 8)]);
}

#[test]
fn kill_in_another_memcg_does_not_end_a_run() {
    let mut script: Vec<Step> = first(10, 1, 7).into();
    script.extend([
        Say(20, 2, invocation_of(8)),
        Say(21, 2, victim(100)),
        // A late count of the run does not change the open invocation.
        Say(22, 1, repeats(2, 22)),
        Say(23, 2, end_of_kill(1)),
        Say(30, 1, repeats(4, 30)),
        Due(1030),
    ]);
    check(
        script,
        &[
            "23: #2 since 20, invocation, victims 100@21, end",
            "1030: #1 since 10, invocation, end, repeats 4 until 30",
        ],
    );
}

#[test]
fn count_without_news_changes_nothing() {
    let mut script: Vec<Step> = first(10, 1, 7).into();
    script.extend([
        Say(20, 1, repeats(8, 20)),
        Say(900, 1, repeats(8, 20)),
        Say(901, 1, repeats(4, 15)),
        // The first record of this run was lost, and the loss is already counted.
        Say(902, 5, repeats(2, 902)),
        Due(1020),
        Finish,
    ]);
    check(script, &["1020: #1 since 10, invocation, end, repeats 8 until 20"]);
}
