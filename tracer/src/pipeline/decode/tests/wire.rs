//! Records built from the wire structs, as the probes build them.

use std::mem::offset_of;

use oomwhy_common::event::{
    CandidateEntry, CandidatesHead, CgroupEvent, ContextHead, EndEvent, EventHeader,
    InvocationEvent, KillEvent, LevelEntry, LevelsHead, MarkEvent, MemcgFacts, ParentEntry,
    PathHead, ReclaimedEvent, RepeatsEvent, StatEvent, TaskFacts, UserFrame, VictimEvent,
    VictimGoneEvent, WaitEvent, candidate, cause, chosen, context, domain, end_facts, kind,
    victim_gone,
};
use oomwhy_common::valid::victim;
use zerocopy::{FromZeros, IntoBytes};

/// The bytes after the NUL are stale.
pub(super) const COMM: [u8; 16] = *b"java\0stale-bytes";

/// A header with all validity bits. `size` is the number of bytes after it.
fn event_header(kind: u32, size: usize) -> EventHeader {
    EventHeader {
        boottime_ns: 7_000_000_001,
        seq: 3,
        // The upper bits show which details were shed.
        valid: u64::MAX >> 16,
        kind,
        size: u32::try_from(size_of::<EventHeader>() + size).unwrap(),
        cpu: 1,
        reserved: 0,
    }
}

pub(super) fn header(kind: u32, size: usize) -> Vec<u8> {
    event_header(kind, size).as_bytes().to_vec()
}

/// The header for a record that is a `T`.
fn header_of<T>(kind: u32) -> EventHeader {
    event_header(kind, size_of::<T>() - size_of::<EventHeader>())
}

fn task(tgid: i32) -> TaskFacts {
    TaskFacts {
        start_boottime_ns: 11,
        cgroup_id: 12,
        tgid,
        tid: tgid + 1,
        uid: 1000,
        oom_score_adj: -16,
        comm: COMM,
    }
}

const MEMCG: MemcgFacts =
    MemcgFacts { id: 1 << 54, usage: 21, max: 22, swap_usage: 23, swap_max: 24, oom_group: 1 };

pub(super) fn invocation() -> InvocationEvent {
    let mut event = InvocationEvent::new_zeroed();
    event.header = header_of::<InvocationEvent>(kind::INVOCATION);
    event.started_ns = 6_000;
    event.totalpages = 131_072;
    event.chosen_points = -5;
    event.trigger = task(100);
    event.chosen = task(200);
    event.oom_memcg = MEMCG;
    event.gfp_mask = 0xcc0;
    event.order = -1;
    event.nodemask = 0b10;
    event.mems_allowed = 0b11;
    event.constraint = 3;
    event.considered = 40;
    event.choice_made = 1;
    event.kernel_frames = 4;
    event.user_frames = 4;
    event.message[..20].copy_from_slice(b"Out of memory\0stale!");
    // The stack ends at a 0. The rest is from an earlier, deeper one.
    let frames = [0xffff_8000_0000_0010, 0xffff_8000_0000_0020, 0, 99];
    event.kernel_stack[..4].copy_from_slice(&frames);
    // The third is no address, so neither is the rest.
    let frames = [(1, 0x1234), (2, 0x1234), (2, 0x0df3_c735_8948_000d), (2, 0x1234)];
    for (frame, (status, offset_or_ip)) in event.user_stack.iter_mut().zip(frames) {
        *frame = UserFrame { status, build_id: [0xab; 20], offset_or_ip };
    }
    event
}

pub(super) fn entry(order: u32) -> CandidateEntry {
    CandidateEntry {
        points: 1500,
        counts: [1, 2, 3, 4],
        pgtables_bytes: 8192,
        total_vm: 900,
        flags: candidate::MM | candidate::UID | candidate::ADJ | candidate::POINTS_RETURNED,
        tgid: 300,
        tid: 301,
        uid: 1000,
        oom_score_adj: 500,
        order,
        comm: COMM,
    }
}

pub(super) fn candidates(count: u32) -> Vec<u8> {
    let entries = count as usize * size_of::<CandidateEntry>();
    let head = CandidatesHead {
        header: event_header(kind::CANDIDATES, 8 + entries),
        recorded: count,
        considered: 77,
    };
    let entries = (0..count).flat_map(|order| entry(order).as_bytes().to_vec());
    head.as_bytes().iter().copied().chain(entries).collect()
}

/// `names` are from leaf to root, each with its NUL.
pub(super) fn path(names: &[u8]) -> Vec<u8> {
    let head = PathHead {
        header: EventHeader { valid: 0, ..event_header(kind::PATH, 16 + names.len()) },
        cgroup_id: 4711,
        len: u32::try_from(names.len()).unwrap(),
        truncated: 0,
    };
    [head.as_bytes(), names].concat()
}

pub(super) fn levels(count: u32) -> Vec<u8> {
    let entries = count as usize * size_of::<LevelEntry>();
    let head = LevelsHead {
        header: event_header(kind::LEVELS, 16 + entries),
        cgroup_id: 4711,
        recorded: count,
        truncated: 1,
    };
    let entry = LevelEntry {
        usage: 31,
        max: 32,
        high: 33,
        low: 34,
        min: 35,
        swap_usage: 36,
        swap_max: 37,
        kmem_usage: 38,
        kmem_max: 39,
    };
    let entries = (0..count).flat_map(|_| entry.as_bytes().to_vec());
    head.as_bytes().iter().copied().chain(entries).collect()
}

pub(super) fn victim() -> VictimEvent {
    let mut header = header_of::<VictimEvent>(kind::VICTIM);
    header.valid = victim::CGROUP
        | victim::MM
        | victim::PER_CPU
        | victim::VPID
        | victim::TASK
        | victim::SHARES_MM
        | victim::NO_SWAP
        | victim::ADJ;
    VictimEvent {
        header,
        task: task(200),
        total_vm: 900,
        counts: [1, 2, 3, -4],
        per_cpu: [5, -6, 7, 8],
        pgtables_bytes: 8192,
        mm: 0xffff_8880_0000_0000,
        vpid: 1,
        ..VictimEvent::new_zeroed()
    }
}

pub(super) fn kill() -> KillEvent {
    let mut header = header_of::<KillEvent>(kind::KILL);
    header.reserved = 8;
    KillEvent {
        header,
        start_boottime_ns: 11,
        cgroup_id: 12,
        oom_memcg_id: 1 << 54,
        tgid: 200,
        tid: 201,
        uid: 1000,
        oom_score_adj: -16,
        cause: cause::GROUP_MEMBER,
        domain: domain::MEMCG,
        counts: [1, 2, 3, -4],
        comm: COMM,
    }
}

pub(super) fn end() -> EndEvent {
    EndEvent {
        header: header_of::<EndEvent>(kind::END),
        result: 1,
        chosen: chosen::TASK,
        kill_calls: 2,
        victims: 3,
        selected: 1,
        oom_kill_calls: 4,
        facts: end_facts::EVALUATED | end_facts::IS_MEMCG | end_facts::TRIGGER_IS_VICTIM,
        facts_known: 0xff,
        processes: 6,
        reserved: 0,
    }
}

pub(super) fn repeats() -> RepeatsEvent {
    RepeatsEvent { header: header_of::<RepeatsEvent>(kind::REPEATS), count: 23_648, last_ns: 9 }
}

pub(super) fn reclaimed() -> ReclaimedEvent {
    ReclaimedEvent {
        header: header_of::<ReclaimedEvent>(kind::RECLAIMED),
        trigger: task(100),
        oom_memcg: MEMCG,
        count: 8,
        order: 2,
        gfp_mask: 0xcc0,
    }
}

pub(super) fn cgroup_made() -> CgroupEvent {
    CgroupEvent { header: header_of::<CgroupEvent>(kind::CGROUP), id: 5, parent_id: 1 }
}

pub(super) fn stat() -> StatEvent {
    let mut event = StatEvent::new_zeroed();
    event.header = header_of::<StatEvent>(kind::STAT);
    event.fresh = 1;
    event.counters[..2].copy_from_slice(&[41, -42]);
    event.fields[..2].copy_from_slice(&[1, 0xff]);
    event
}

pub(super) fn victim_gone() -> VictimGoneEvent {
    VictimGoneEvent {
        header: header_of::<VictimGoneEvent>(kind::VICTIM_GONE),
        step: victim_gone::FREEING,
        tgid: 200,
        tid: 201,
        reserved: 0,
        mm: 0xffff_8880_0000_0000,
        counts: [1, 2, 3, -4],
    }
}

pub(super) fn wait() -> WaitEvent {
    WaitEvent {
        header: header_of::<WaitEvent>(kind::WAIT),
        trigger: task(100),
        oom_memcg: MEMCG,
        ended: 1,
        order: 2,
        gfp_mask: 0xcc0,
    }
}

pub(super) fn mark() -> MarkEvent {
    MarkEvent {
        header: header_of::<MarkEvent>(kind::MARK),
        total_vm_kib: 1,
        anon_kib: 2,
        file_kib: 3,
        shmem_kib: 4,
        pgtables_kib: 5,
        cgroup_id: 12,
        tid: 201,
        tgid: 200,
        uid: 1000,
        oom_score_adj: -16,
        comm: COMM,
    }
}

pub(super) fn context(part: u32, body: &[u8]) -> Vec<u8> {
    let head = ContextHead {
        header: event_header(kind::CONTEXT, 24 + body.len()),
        tgid: 200,
        tid: 201,
        part,
        len: u32::try_from(body.len()).unwrap(),
        truncated: 0,
        reserved: 0,
    };
    [head.as_bytes(), body].concat()
}

pub(super) fn parents() -> Vec<u8> {
    let parent = |tgid| ParentEntry { tgid, reserved: 0, comm: COMM };
    context(context::PARENTS, [parent(7), parent(1)].as_bytes())
}

/// The record without the empty end of the user stack, which is not sent.
pub(super) fn as_sent(event: &InvocationEvent) -> Vec<u8> {
    let frames = event.user_frames as usize * size_of::<UserFrame>();
    let length = offset_of!(InvocationEvent, user_stack) + frames;
    let mut event = *event;
    event.header.size = u32::try_from(length).unwrap();
    event.as_bytes()[..length].to_vec()
}

/// One record of every kind.
pub(super) fn records() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("invocation", as_sent(&invocation())),
        ("candidates", candidates(2)),
        ("path", path(b"app\0pod\0kubepods\0")),
        ("levels", levels(3)),
        ("victim", victim().as_bytes().to_vec()),
        ("kill", kill().as_bytes().to_vec()),
        ("end", end().as_bytes().to_vec()),
        ("repeats", repeats().as_bytes().to_vec()),
        ("reclaimed", reclaimed().as_bytes().to_vec()),
        ("cgroup_made", cgroup_made().as_bytes().to_vec()),
        ("stat", stat().as_bytes().to_vec()),
        ("victim_gone", victim_gone().as_bytes().to_vec()),
        ("wait", wait().as_bytes().to_vec()),
        ("mark", mark().as_bytes().to_vec()),
        ("cmdline", context(context::CMDLINE, b"java\0-jar\0")),
        ("exe", context(context::EXE, b"java\0bin\0")),
        ("parents", parents()),
        ("stack", context(context::USER_STACK, invocation().user_stack.as_bytes())),
    ]
}
