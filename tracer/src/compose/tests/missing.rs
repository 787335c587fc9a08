//! Fields that are missing although the host can provide them.

use super::{
    kill,
    parts::{candidate, candidates},
    report,
};
use crate::model::{account::InvocationAccount, events::UserFrame, task_context::TaskContext};

fn why(account: &InvocationAccount, field: &str) -> Option<String> {
    let missing = report(account).source.missing;
    missing.into_iter().find(|missing| missing.field == field).map(|missing| missing.why)
}

#[test]
fn memory_of_leaderless_process_is_missing() {
    let mut account = kill();
    let mut leaderless = candidate(100, 0, 5000);
    leaderless.memory = None;
    account.candidates = Some(candidates(vec![leaderless.clone(), candidate(200, 1, 10)]));
    let missing = why(&account, "candidates.anon_pages").unwrap();
    assert!(missing.contains("process 100 "), "{missing}");
    // A process that may not be killed has a reason of its own.
    leaderless.refused = true;
    account.candidates = Some(candidates(vec![leaderless]));
    assert_eq!(why(&account, "candidates.anon_pages"), None);
}

#[test]
fn exact_rss_without_candidates_is_missing() {
    let mut account = kill();
    account.victims.change(0, |(_, it)| it.per_cpu = Some([0, 3, 0, -3]));
    account.candidates = Some(candidates(vec![candidate(100, 0, 10)]));
    assert_eq!(why(&account, "victims (exact rss)"), None);
    account.candidates = None;
    assert!(why(&account, "victims (exact rss)").is_some());
    // The batches are empty, or not readable: then the host names them.
    for batches in [Some([0; 4]), None] {
        account.victims.change(0, |(_, it)| it.per_cpu = batches);
        assert_eq!(why(&account, "victims (exact rss)"), None);
    }
}

#[test]
fn stack_of_bare_addresses_has_reason() {
    const TRIGGER: &str = "trigger.user_stack.build_id";
    const VICTIM: &str = "victims[].user_stack.file_offset";
    let bare = || Some(vec![UserFrame::Ip { ip: 16 }]);
    let place = UserFrame::File { build_id: "00".to_owned(), file_offset: 1 };
    let mut account = kill();
    for (of_trigger, of_victim, missing) in [
        (bare(), None, [true, false]),
        (None, bare(), [false, true]),
        (bare(), bare(), [true, true]),
        (Some(vec![place]), Some(Vec::new()), [false, false]),
    ] {
        account.invocation.as_mut().unwrap().user_stack = of_trigger;
        let context = TaskContext { user_stack: of_victim, ..TaskContext::default() };
        account.contexts.insert(100, context);
        assert_eq!([TRIGGER, VICTIM].map(|field| why(&account, field).is_some()), missing);
    }
}
