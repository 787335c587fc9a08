//! The order of candidates, which is the kernel's order of preference. Pure.

use crate::model::report::Candidate;

/// Sorts candidates and numbers those that may be killed. Each comes with its place in the
/// kernel's list of tasks.
///
/// The most points come first; of equal points the task that the kernel evaluated last, because
/// `oom_evaluate_task` replaces its choice by an equal one. Behind them, in the kernel's order:
/// candidates whose points are not known, then those that may not be killed.
pub(crate) fn rank(mut candidates: Vec<(u64, Candidate)>) -> Vec<Candidate> {
    candidates.sort_by_key(|(order, candidate)| match candidate.points {
        _ if !candidate.eligible => (2, 0, *order),
        Some(points) => (0, points.saturating_neg(), u64::MAX - order),
        None => (1, 0, *order),
    });
    let mut ranked: Vec<Candidate> = candidates.into_iter().map(|(_, row)| row).collect();
    for (rank, candidate) in (1..).zip(ranked.iter_mut().filter(|row| row.eligible)) {
        candidate.rank = Some(rank);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_without_points_rank_behind_those_with_points() {
        let candidate =
            |pid, points, eligible| Candidate { pid, points, eligible, ..Candidate::default() };
        let rows = [
            candidate(1, None, false),
            candidate(2, None, true),
            candidate(3, Some(-5), true),
            candidate(4, Some(9), true),
            candidate(5, Some(9), true),
        ];
        let ranked = rank((0..).zip(rows).collect());
        let order: Vec<(i32, Option<u32>)> = ranked.iter().map(|row| (row.pid, row.rank)).collect();
        assert_eq!(order, [(5, Some(1)), (4, Some(2)), (3, Some(3)), (2, Some(4)), (1, None)]);
    }
}
