use super::*;
use crate::{enrich::process_roots::ProcessRoots, host::disposable};

fn requests() -> SymbolRequests {
    let tenants = Tenants::default();
    let roots = ProcessRoots::new(tenants.clone());
    SymbolRequests::new(tenants, roots.opened().clone())
}

fn await_answers(requests: &mut SymbolRequests, n_answers: usize) -> Vec<SymbolAnswer> {
    let begin = Instant::now();
    let mut answers = Vec::new();
    while answers.len() < n_answers && begin.elapsed() < PATIENCE {
        answers.extend(requests.answers());
        std::thread::yield_now();
    }
    answers
}

/// The test's executable has no hidden command. An answer without names is an answer too.
#[test]
fn invocation_with_two_stacks_is_ready_after_both_answers() {
    let mut requests = requests();
    let process = Process { pid: std::process::id(), started_ns: 0 };
    requests.ask(7, process, None, None, &[]);
    assert!(requests.newly_awaited().is_empty() && requests.names_ready().is_empty());
    let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
    requests.ask(7, process, None, None, &frame);
    requests.ask(7, process, None, None, &frame);
    assert_eq!(requests.newly_awaited(), [7].into());
    assert!(requests.newly_awaited().is_empty());
    let begin = Instant::now();
    let mut answers = Vec::new();
    while answers.len() < 2 && begin.elapsed() < PATIENCE {
        answers.extend(requests.answers());
        assert!(answers.len() == 2 || requests.names_ready().is_empty());
        std::thread::yield_now();
    }
    let found = FoundNames::Process { pid: process.pid, names: UserNames::default() };
    let answer = SymbolAnswer { seq: 7, found, refused: None };
    assert_eq!(answers.first(), Some(&answer));
    assert_eq!(requests.names_ready(), [7]);
    assert!(requests.names_ready().is_empty());
}

#[test]
fn growth_of_two_processes_gets_one_answer_each() {
    let mut requests = requests();
    let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
    requests.ask_growing(8, 1, [(1, &frame[..0])]);
    assert!(requests.newly_awaited().is_empty());
    let pid = std::process::id();
    requests.ask_growing(8, 1, [(pid, &frame[..]), (pid + 1, &frame[..]), (1, &frame[..0])]);
    assert_eq!(requests.newly_awaited(), [8].into());
    let begin = Instant::now();
    let mut answered = BTreeSet::new();
    while answered.len() < 2 && begin.elapsed() < PATIENCE {
        answered.extend(requests.answers().into_iter().map(|answer| match answer.found {
            FoundNames::Process { pid, .. } => (answer.seq, pid),
            FoundNames::Kernel(_) => panic!("no kernel address was asked for"),
        }));
        std::thread::yield_now();
    }
    assert_eq!(answered, [(8, pid), (8, pid + 1)].into());
    assert_eq!(requests.names_ready(), [8]);
}

#[test]
fn requests_without_an_answer_in_time_are_counted() {
    let mut requests = requests();
    let Some(since) = Instant::now().checked_sub(2 * PATIENCE) else { return };
    requests.unanswered.insert(7, Unanswered { count: 2, since });
    requests.unanswered.insert(8, Unanswered { count: 0, since });
    assert_eq!(requests.names_ready(), [7, 8]);
    assert_eq!(requests.n_late(), 2);
}

#[test]
fn kernel_addresses_are_awaited_until_answered() {
    let mut requests = requests();
    requests.ask_kernel(9, Vec::new());
    assert!(requests.newly_awaited().is_empty());
    requests.ask_kernel(9, vec![0xffff_ffff_8100_0000]);
    assert_eq!(requests.newly_awaited(), [9].into());
    let begin = Instant::now();
    let mut answers = Vec::new();
    while answers.is_empty() && begin.elapsed() < PATIENCE {
        answers = requests.answers();
        std::thread::yield_now();
    }
    let found = FoundNames::Kernel(BTreeMap::new());
    assert_eq!(answers, [SymbolAnswer { seq: 9, found, refused: None }]);
    assert_eq!(requests.names_ready(), [9]);
}

/// The tenant's share is used up as by look-ups that hang.
#[test]
fn stack_of_a_tenant_without_a_share_is_refused_at_once() {
    let mut requests = requests();
    let [hostile, other] = [Some(5), Some(6)];
    requests.tenants.learn(5, "/docker/hostile");
    requests.tenants.learn(6, "/docker/other");
    let used_up = Tenant::new("/docker/hostile");
    requests.shares.charge(&used_up, Instant::now(), disposable::deadline() * 3);
    let process = Process { pid: u32::MAX, started_ns: 0 };
    let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
    requests.ask(1, process, hostile, None, &frame);
    requests.ask(2, process, other, None, &frame);
    requests.ask_growing(3, 5, [(u32::MAX, &frame[..])]);
    assert_eq!(await_answers(&mut requests, 3).len(), 3);
    let refused = [1, 2, 3].map(|seq| requests.refused(seq).to_vec());
    assert_eq!(refused, [vec![LookupKind::Stack], vec![], vec![LookupKind::Growth]]);
    // Their reports need not wait.
    assert_eq!(requests.names_ready(), [1, 2, 3]);
    requests.forget(1);
    assert_eq!(requests.refused(1), []);
}

#[test]
fn tenant_with_too_many_requests_is_refused_and_others_are_not() {
    let mut requests = requests();
    requests.tenants.learn(5, "/docker/hostile");
    let tenant = Tenant::new("/docker/hostile");
    while requests.shares.enter(&tenant) {}
    let process = Process { pid: u32::MAX, started_ns: 0 };
    let frame = [UserFrame::Ip { ip: 1 }];
    requests.ask(1, process, Some(5), None, &frame);
    requests.ask(2, process, Some(6), None, &frame);
    assert_eq!([1, 2].map(|seq| requests.refused(seq).len()), [1, 0]);
    assert_eq!(requests.newly_awaited(), [2].into());
}
