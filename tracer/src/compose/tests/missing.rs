//! What a report lacks though the host could give it.

use super::{
    kill,
    parts::{candidate, candidates},
    report,
};
use crate::assemble::Account;

fn why(account: &Account, field: &str) -> Option<String> {
    let missing = report(account).source.missing;
    missing.into_iter().find(|missing| missing.field == field).map(|missing| missing.why)
}

#[test]
fn memory_of_a_thread_that_was_not_found_is_missing_with_the_process() {
    let mut account = kill();
    let mut leaderless = candidate(100, 0, 5000);
    leaderless.memory = None;
    account.candidates = Some(candidates(vec![leaderless.clone(), candidate(200, 1, 10)]));
    let missing = why(&account, "candidates.anon_pages").unwrap();
    assert!(missing.contains("process 100 "), "{missing}");
    // Who may not be killed anyway has a reason of its own.
    leaderless.refused = true;
    account.candidates = Some(candidates(vec![leaderless]));
    assert_eq!(why(&account, "candidates.anon_pages"), None);
}

#[test]
fn where_nobody_was_weighed_nothing_tells_how_exact_the_kernel_is() {
    let mut account = kill();
    account.victims[0].1.per_cpu = Some([0, 3, 0, -3]);
    account.candidates = Some(candidates(vec![candidate(100, 0, 10)]));
    assert_eq!(why(&account, "victims (exact rss)"), None);
    account.candidates = None;
    assert!(why(&account, "victims (exact rss)").is_some());
    // Nothing is held back, or that cannot be known: then the host says so.
    for batches in [Some([0; 4]), None] {
        account.victims[0].1.per_cpu = batches;
        assert_eq!(why(&account, "victims (exact rss)"), None);
    }
}
