//! Scripts of events, and the accounts that they complete.

mod kills;
mod pending_close;
mod runs;
mod script;
mod waits;

use self::script::{
    Step::{self, Due, Finish, Say},
    candidates, chosen, end_of_kill, invocation, reclaimed, victim, will_free_mem,
};
use crate::{
    model::{account::Account, report::System},
    pipeline::assemble::Assembler,
};

/// Runs a script and compares the completed accounts: "milliseconds: account".
#[track_caller]
fn check(script: Vec<Step>, expected: &[&str]) {
    assert_eq!(script::run(script), expected);
}

#[test]
fn kill_is_reported_when_its_end_arrives() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 1, candidates()),
            Say(12, 1, victim(100)),
            Say(13, 1, end_of_kill(1)),
            Finish,
        ],
        &["13: #1 since 10, invocation, candidates, victims 100@12, end"],
    );
}

#[test]
fn processes_of_group_are_victims_once_in_order_of_marking() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 1, victim(100)),
            Say(12, 1, victim(102)),
            // With memory.oom.group, the kernel marks the chosen process again by another thread.
            Say(13, 1, victim(100)),
            Say(14, 1, victim(101)),
            Say(15, 1, end_of_kill(4)),
        ],
        &["15: #1 since 10, invocation, victims 100@11 102@12 101@14, end"],
    );
}

#[test]
fn host_memory_stays_with_its_run() {
    let free = |free| System { free_bytes: Some(free), ..System::default() };
    let mut assembler = Assembler::default();
    assembler.push(script::event(10, 1, invocation()));
    assembler.add_system(1, 11, free(5));
    assembler.add_system(2, 12, free(6));
    assembler.push(script::event(13, 1, script::no_victim()));
    let due = assembler.due(2_000 * script::MS);
    let systems: Vec<_> = due.iter().map(system_of).collect();
    assert_eq!(systems, [Some(&(11, free(5)))]);
    // A report of the same run, with more repeats.
    assembler.push(script::event(3_000, 1, script::repeats(2, 3_000)));
    assert_eq!(system_of(&assembler.finish()[0]), Some(&(11, free(5))));
}

fn system_of(account: &Account) -> Option<&(u64, System)> {
    account.invocation()?.system.as_ref()
}

#[test]
fn invocation_with_lost_end_is_closed_by_next_one() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 1, victim(100)),
            Say(20, 2, invocation()),
            Say(21, 2, victim(200)),
            Say(22, 2, end_of_kill(1)),
            Finish,
        ],
        &[
            "20: #1 since 10, invocation, victims 100@11",
            "22: #2 since 20, invocation, victims 200@21, end",
        ],
    );
}

#[test]
fn invocation_with_lost_end_is_closed_after_a_while() {
    check(
        vec![
            Say(10, 1, invocation()),
            // The kernel may be slow, because it prints every task first.
            Due(120_000),
            Say(120_001, 1, victim(100)),
            // After the mark it prints little.
            Due(130_000),
            Due(130_001),
            Finish,
        ],
        &["130001: #1 since 10, invocation, victims 100@120001"],
    );
}

#[test]
fn records_without_invocation_close_none() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 0, reclaimed(7)),
            Say(12, 0, script::cgroup_made()),
            Say(13, 1, victim(100)),
            Say(14, 1, end_of_kill(1)),
        ],
        &["14: #1 since 10, invocation, victims 100@13, end"],
    );
}

#[test]
fn reclaim_is_reported_after_settling() {
    check(
        vec![Say(10, 0, reclaimed(1)), Say(20, 0, reclaimed(2)), Due(1000), Due(1020), Due(3000)],
        &["1020: #0 since 10, reclaimed 2"],
    );
    check(vec![Say(10, 0, reclaimed(1)), Finish], &["finish: #0 since 10, reclaimed 1"]);
}

#[test]
fn reclaims_near_kill_in_same_memcg_are_not_reported() {
    let kill = |ms| [Say(ms, 1, invocation()), Say(ms, 1, victim(100)), Say(ms, 1, end_of_kill(1))];
    let mut script = vec![Say(10, 0, reclaimed(1))];
    script.extend(kill(20));
    script.extend([Say(500, 0, reclaimed(2)), Due(1000), Due(5000)]);
    // Long after the kill, they are reported.
    script.extend([Say(6000, 0, reclaimed(4)), Due(7000), Finish]);
    check(
        script,
        &["20: #1 since 20, invocation, victims 100@20, end", "7000: #0 since 6000, reclaimed 4"],
    );
}

#[test]
fn invocation_with_lost_records_is_still_an_account() {
    check(vec![Say(10, 1, end_of_kill(1))], &["10: #1 since 10, end"]);
    check(vec![Say(10, 1, will_free_mem())], &["10: #1 since 10, end"]);
    check(
        vec![Say(10, 1, victim(100)), Say(11, 1, end_of_kill(1))],
        &["11: #1 since 10, victims 100@10, end"],
    );
    check(vec![Say(10, 1, candidates()), Finish], &["finish: #1 since 10, candidates"]);
    // Invocations 2 to 4 left no record, so they have no account.
    check(
        vec![Say(10, 1, chosen()), Say(20, 5, chosen()), Say(21, 5, end_of_kill(0))],
        &["20: #1 since 10, invocation", "21: #5 since 20, invocation, end"],
    );
}

#[test]
fn dying_trigger_is_marked_before_its_invocation_record() {
    check(
        vec![Say(10, 1, victim(100)), Say(11, 1, invocation()), Say(12, 1, will_free_mem())],
        &["12: #1 since 10, invocation, victims 100@10, end"],
    );
}

#[test]
fn chosen_but_unmarked_process_is_reported_at_once() {
    check(
        vec![Say(10, 1, chosen()), Say(11, 1, end_of_kill(0))],
        &["11: #1 since 10, invocation, end"],
    );
}

#[test]
fn accounts_left_at_the_end_are_ordered() {
    check(
        vec![
            Say(10, 1, invocation()),
            Say(11, 1, script::no_victim()),
            Say(20, 2, invocation()),
            Finish,
            Finish,
        ],
        &["finish: #1 since 10, invocation, end", "finish: #2 since 20, invocation"],
    );
}
