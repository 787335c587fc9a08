//! The candidate table: sums, ranks, refusals.

use oomwhy_common::event::candidate as flag;

use super::{
    kill,
    parts::{MEMORY, PARTS, candidate, candidates, choice},
    report,
};
use crate::model::{
    events,
    report::{Candidate, WhyNot},
};

/// The table of a kill of process 100.
fn table(list: Vec<events::Candidate>) -> Vec<Candidate> {
    let mut account = kill();
    account.invocation = Some(choice(100));
    account.candidates = Some(candidates(list));
    report(&account).candidates.unwrap().list
}

fn row(candidate: events::Candidate) -> Candidate {
    table(vec![candidate]).remove(0)
}

/// points == parts + adj + drift.
#[track_caller]
fn check_sum(row: &Candidate) {
    let parts = [
        row.anon_pages,
        row.file_pages,
        row.shmem_pages,
        row.swap_pages,
        row.pgtables_pages,
        row.adj_pages,
        row.drift_pages.or(Some(0)),
    ];
    let sum: i64 = parts.into_iter().map(Option::unwrap).sum();
    assert_eq!(row.points, Some(sum), "{row:?}");
}

#[test]
fn points_are_sum_of_parts_adjustment_and_drift() {
    for (points, adj, adj_pages, drift) in [
        (PARTS, 0, 0, None),
        (PARTS + 40, 0, 0, Some(40)),
        (PARTS - 7, 0, 0, Some(-7)),
        (PARTS + 100_000, 1000, 100_000, None),
        (PARTS - 50_000, -500, -50_000, None),
        (PARTS + 98_600, 986, 98_600, None),
        (i64::MAX, 1000, 100_000, Some(i64::MAX - PARTS - 100_000)),
    ] {
        let mut candidate = candidate(7, 0, points);
        candidate.oom_score_adj = Some(adj);
        let row = row(candidate);
        check_sum(&row);
        assert_eq!((row.adj_pages, row.drift_pages), (Some(adj_pages), drift));
    }
}

#[test]
fn adjustment_divides_before_it_multiplies() {
    for (totalpages, adj, expected) in
        [(999, 1000, 0), (1000, 1, 1), (131_071, -999, -130_869), (0, 1000, 0)]
    {
        let mut account = kill();
        let control = &mut account.invocation.as_mut().unwrap().control;
        control.as_mut().unwrap().totalpages = totalpages;
        account.candidates.as_mut().unwrap().list[0].oom_score_adj = Some(adj);
        let row = report(&account).candidates.unwrap().list.remove(0);
        assert_eq!(row.adj_pages, Some(expected), "{totalpages} {adj}");
        check_sum(&row);
    }
}

#[test]
fn negative_counter_reads_as_zero() {
    let mut candidate = candidate(7, 0, 1353);
    candidate.memory = Some(events::Memory { counts: [-100, 1000, 200, -50], ..MEMORY });
    let row = row(candidate);
    assert_eq!((row.file_pages, row.shmem_pages), (Some(0), Some(0)));
    assert_eq!(row.drift_pages, Some(150));
    check_sum(&row);
}

#[test]
fn points_that_were_not_seen_are_recomputed() {
    let unseen = |tgid| events::Candidate {
        points: None,
        flags: 0,
        oom_score_adj: Some(10),
        ..candidate(tgid, 0, 0)
    };
    let other = row(unseen(7));
    assert_eq!((other.points, other.drift_pages), (Some(PARTS + 1000), None));
    // `choice` says chosen_points 1500.
    let chosen = row(unseen(100));
    assert!(chosen.chosen && !other.chosen);
    assert_eq!(chosen.points, Some(1500));
    assert_eq!(chosen.drift_pages, Some(1500 - PARTS - 1000));
    check_sum(&chosen);
    let mut unread = unseen(7);
    unread.memory = None;
    let unread = row(unread);
    assert_eq!((unread.points, unread.anon_pages), (None, None));
    assert!(unread.eligible && unread.rank == Some(1));
}

#[test]
fn ineligible_candidate_has_reason_and_no_points() {
    for (flags, adj, expected) in [
        (flag::INIT | flag::NO_MM, -1000, WhyNot::Init),
        (flag::OOM_SKIP | flag::VFORK, -1000, WhyNot::OomScoreAdjMin),
        (flag::OOM_SKIP | flag::VFORK, 0, WhyNot::OomSkip),
        (flag::NO_MM | flag::VFORK, 0, WhyNot::NoMm),
        (flag::VFORK, -999, WhyNot::Vfork),
        (flag::VICTIM, 0, WhyNot::Unknown),
    ] {
        // Refused by its points, or (5.10) by the inputs of oom_badness.
        for points in [Some(i64::MIN), None] {
            let row = row(events::Candidate {
                points,
                refused: true,
                oom_score_adj: Some(adj),
                flags,
                memory: candidate(7, 0, 0).memory.filter(|_| flags & flag::NO_MM == 0),
                ..candidate(7, 0, 0)
            });
            assert_eq!((row.eligible, row.why_not), (false, Some(expected)));
            assert_eq!((row.points, row.rank), (None, None));
            assert_eq!((row.adj_pages, row.drift_pages), (None, None));
            assert_eq!(row.oom_score_adj, Some(adj));
        }
    }
    assert_eq!(row(candidate(7, 0, -1)).why_not, None);
}

#[test]
fn candidates_with_equal_points_rank_later_one_first() {
    let list = [
        (1, i64::MIN),
        (2, 50),
        (3, -9000),
        (4, 200),
        (5, 50),
        (6, i64::MIN),
        (7, 50),
        (8, i64::MIN + 1),
    ];
    let list =
        list.into_iter().zip(0..).map(|((tgid, points), order)| candidate(tgid, order, points));
    let mut list: Vec<events::Candidate> = list.collect();
    // The ring has them in no particular order.
    list.reverse();
    let table = table(list);
    let order: Vec<i32> = table.iter().map(|row| row.pid).collect();
    assert_eq!(order, [4, 7, 5, 2, 3, 8, 1, 6]);
    let ranks: Vec<Option<u32>> = table.iter().map(|row| row.rank).collect();
    let expected = [1, 2, 3, 4, 5, 6].map(Some);
    assert_eq!(ranks, [expected.as_slice(), &[None, None]].concat());
}

#[test]
fn candidates_have_counts_of_evaluated_and_listed() {
    let table = report(&kill()).candidates.unwrap();
    assert_eq!((table.considered, table.recorded), (7, 1));
    let row = &table.list[0];
    assert_eq!(row.total_vm_bytes, Some(5000 * 4096));
    assert_eq!((row.pid, row.tid, row.chosen), (100, None, true));
}
