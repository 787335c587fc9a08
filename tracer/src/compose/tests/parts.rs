//! Parts of accounts, small and plain.

use oomwhy_common::event::candidate;

use crate::model::{
    account::InvocationAccount,
    events::{
        Candidate, Candidates, Chosen, Control, End, Invocation, Memory, Name, Task, Victim,
        samples,
    },
    host::Host,
    report::Tier,
};

/// `CLOCK_BOOTTIME` 0 was at the start of 2026.
pub(super) fn host() -> Host {
    Host {
        boot_id: Some("boot".to_owned()),
        page_size: 4096,
        realtime_offset_ns: 1_767_225_600_000_000_000,
        hooks: ["mark_victim", "sched_process_exit", "exit_mmap"]
            .map(|hook| (hook.to_owned(), "tp_btf".to_owned()))
            .into(),
        memory_on_v2: Some(true),
        ..Host::of_tier(Tier::Fentry)
    }
}

pub(super) fn task(tgid: i32) -> Task {
    Task { comm: Name(b"java".to_vec()), uid: 1000, ..samples::task(tgid) }
}

/// Triggered by thread 101 of process 100; totalpages 100000.
pub(super) fn invocation() -> Invocation {
    Invocation {
        started_ns: 5_000_000_000,
        control: Some(Control {
            totalpages: 100_000,
            chosen_points: 1500,
            gfp_mask: 0xcc0,
            order: 0,
            constraint: Some(3),
        }),
        ..samples::invocation(Task { tid: 101, ..task(100) })
    }
}

/// An invocation that chose this process.
pub(super) fn choice(tgid: i32) -> Invocation {
    Invocation {
        chosen: Some(task(tgid)),
        considered: 2,
        choice_made: true,
        message: Some(Name(b"Out of memory".to_vec())),
        ..invocation()
    }
}

pub(super) fn end(kill_calls: u32, victims: u32) -> End {
    End {
        result: Some(true),
        chosen: Some(Chosen::Task),
        kill_calls,
        victims,
        selected: Some(true),
        ..End::default()
    }
}

pub(super) fn account(invocation: Invocation, end: End) -> InvocationAccount {
    InvocationAccount {
        seq: 1,
        invocation: Some(invocation),
        end: Some(end),
        ..InvocationAccount::default()
    }
}

/// file 100, anon 1000, swap 200, shmem 50 and 3 pages of page tables: 1353.
pub(super) const MEMORY: Memory =
    Memory { counts: [100, 1000, 200, 50], pgtables_bytes: 3 * 4096, total_vm: 5000 };
/// Sum of [`MEMORY`].
pub(super) const PARTS: i64 = 1353;

/// A candidate with [`MEMORY`], oom_score_adj 0, and these points by the kernel.
pub(super) fn candidate(tgid: i32, order: u32, points: i64) -> Candidate {
    Candidate {
        tgid,
        tid: tgid,
        comm: Name(b"java".to_vec()),
        uid: Some(1000),
        points: Some(points),
        refused: points == i64::MIN,
        memory: Some(MEMORY),
        oom_score_adj: Some(0),
        flags: candidate::POINTS_RETURNED,
        order,
    }
}

pub(super) fn candidates(list: Vec<Candidate>) -> Candidates {
    Candidates { considered: 7, list }
}

pub(super) fn victim(tgid: i32) -> Victim {
    Victim { memory: Some(MEMORY), ..samples::victim(task(tgid)) }
}
