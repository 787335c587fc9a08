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
