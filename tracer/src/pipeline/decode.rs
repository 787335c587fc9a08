//! Turns the bytes of a record into an [`Event`]. Pure and total: it never panics, and an unknown
//! value stays unknown.
//!
//! A record of a newer wire version may be longer: it is read as far as it is known. A record of an
//! older one may be shorter: [`head`] fills the fields that it does not have with zeros. An unknown
//! kind is an error, which the caller counts.

mod context;

use oomwhy_common::{
    event::{
        CandidateEntry, CandidatesHead, CgroupEvent, EndEvent, EventHeader, GrowingProcessEvent,
        InvocationEvent, KillEvent, LevelEntry, LevelsHead, MarkEvent, MemcgFacts,
        OLDEST_CANDIDATE_BYTES, OLDEST_LEVEL_BYTES, PathHead, ReclaimedEvent, RepeatsEvent,
        StatEvent, TaskFacts, VictimEvent, VictimGoneEvent, WaitEvent, candidate, cause, chosen,
        domain, end_facts, kind, victim_gone,
    },
    valid,
};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use crate::model::{
    events::{
        Body, Candidate, Candidates, CgroupMade, CgroupPath, Chosen, Control, Counter, End,
        EndFacts, Event, GrowingProcess, Invocation, Kill, KillCause, Level, Levels, Mark,
        MarkFields, Memcg, Memory, Name, Reclaimed, Repeats, Stat, Task, Victim, VictimGone,
        VictimGoneStep, Wait, user_frame,
    },
    shed::Shed,
    wire::head,
};

/// Why bytes are not an event.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Shorter than a header, or than the length in its header.
    #[error("record is cut off after {length} bytes")]
    Short {
        /// Length of the record in bytes.
        length: usize,
    },
    /// This build does not know the kind of the record.
    #[error("unknown record kind {0}")]
    UnknownKind(u32),
    /// A count inside the record points past its end.
    #[error("record announces {announced} entries, more than it holds")]
    Count {
        /// The count in the record.
        announced: u32,
    },
}

/// Decodes one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Event, Malformed> {
    let (header, _) = EventHeader::read_from_prefix(bytes)
        .map_err(|_| Malformed::Short { length: bytes.len() })?;
    // A record that is shorter than its header says is damaged. If the header says so too, it is
    // an older one.
    let size = (header.size as usize).max(size_of::<EventHeader>());
    let bytes = bytes.get(..size).ok_or(Malformed::Short { length: bytes.len() })?;
    let has = |bit| header.valid & bit != 0;
    let body = match header.kind {
        kind::INVOCATION => Body::Invocation(Box::new(invocation(bytes, has))),
        kind::CANDIDATES => Body::Candidates(candidates(bytes)?),
        kind::PATH => Body::Path(path(bytes, has)?),
        kind::LEVELS => Body::Levels(levels(bytes, has)?),
        kind::VICTIM => Body::Victim(Box::new(victim(bytes, has))),
        kind::KILL => Body::Kill(Box::new(kill(bytes, has))),
        kind::END => Body::End(end(bytes, has)),
        kind::REPEATS => Body::Repeats(repeats(bytes)),
        kind::RECLAIMED => Body::Reclaimed(Box::new(reclaimed(bytes, has))),
        kind::CGROUP => Body::CgroupMade(cgroup_made(bytes)),
        kind::STAT => Body::Stat(stat(bytes, has)),
        kind::VICTIM_GONE => Body::VictimGone(victim_gone(bytes, has)),
        kind::WAIT => Body::Wait(Box::new(wait(bytes, has))),
        kind::GROWING_PROCESS => Body::GrowingProcess(growing_process(bytes)),
        kind::MARK => Body::Mark(mark(bytes, has)),
        kind::CONTEXT => Body::Context(context::context(bytes, has)?),
        unknown => return Err(Malformed::UnknownKind(unknown)),
    };
    let shed = Shed::from_header(header.valid);
    Ok(Event { boottime_ns: header.boottime_ns, cpu: header.cpu, seq: header.seq, shed, body })
}

/// `count` structs that fill `bytes`. Their size follows from the length, since another wire
/// version may have more or fewer fields. `oldest` is their size in the oldest version, bytes.
fn list<T>(bytes: &[u8], count: u32, oldest: usize) -> Result<Vec<T>, Malformed>
where
    T: FromBytes + IntoBytes,
{
    let n = count as usize;
    let Some(size) = bytes.len().checked_div(n) else {
        return Ok(Vec::new());
    };
    if size < oldest || size * n != bytes.len() {
        return Err(Malformed::Count { announced: count });
    }
    Ok(bytes.chunks_exact(size).map(|entry| head(entry).0).collect())
}

/// Bytes up to the first NUL. The bytes after it are stale.
fn name(bytes: &[u8]) -> Name {
    Name(bytes.split(|&byte| byte == 0).next().unwrap_or_default().to_vec())
}

fn task(facts: &TaskFacts, known: bool, cgroup_known: bool) -> Task {
    Task {
        tgid: facts.tgid,
        tid: facts.tid,
        comm: name(&facts.comm),
        uid: facts.uid,
        start_boottime_ns: known.then_some(facts.start_boottime_ns),
        oom_score_adj: known.then_some(facts.oom_score_adj),
        cgroup_id: cgroup_known.then_some(facts.cgroup_id),
    }
}

fn memcg(facts: &MemcgFacts, has: impl Fn(u64) -> bool) -> Memcg {
    Memcg {
        id: has(valid::oom_memcg::ID).then_some(facts.id),
        memory: has(valid::oom_memcg::COUNTERS)
            .then_some(Counter { usage: facts.usage, max: facts.max }),
        swap: has(valid::oom_memcg::SWAP)
            .then_some(Counter { usage: facts.swap_usage, max: facts.swap_max }),
        oom_group: has(valid::oom_memcg::OOM_GROUP).then_some(facts.oom_group != 0),
    }
}

/// The value of `enum oom_constraint` for a memcg.
const CONSTRAINT_MEMCG: u32 = 3;

fn invocation(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Invocation {
    let (event, _) = head::<InvocationEvent>(bytes);
    let is_memcg = has(valid::oom_memcg::ID) || has(valid::oom_memcg::COUNTERS);
    // The kernel computes it after the entry, but for a memcg it can only be this.
    let constraint = match (has(valid::invocation::AT_ENTRY), is_memcg) {
        (false, _) => Some(event.constraint),
        (true, true) => Some(CONSTRAINT_MEMCG),
        (true, false) => None,
    };
    Invocation {
        started_ns: event.started_ns,
        trigger: task(&event.trigger, has(valid::trigger::TASK), has(valid::trigger::CGROUP)),
        control: has(valid::invocation::OOM_CONTROL).then_some(Control {
            totalpages: event.totalpages,
            chosen_points: event.chosen_points,
            gfp_mask: event.gfp_mask,
            order: event.order,
            constraint,
        }),
        is_memcg: has(valid::oom_memcg::POINTER).then_some(is_memcg),
        oom_memcg: is_memcg.then(|| memcg(&event.oom_memcg, has)),
        chosen: has(valid::invocation::CHOSEN).then(|| task(&event.chosen, false, false)),
        considered: event.considered,
        choice_made: event.choice_made != 0,
        nodemask: has(valid::invocation::NODEMASK).then_some(event.nodemask),
        mems_allowed: has(valid::invocation::MEMS_ALLOWED).then_some(event.mems_allowed),
        message: has(valid::invocation::MESSAGE).then(|| name(&event.message)),
        kernel_stack: has(valid::invocation::KERNEL_STACK)
            .then(|| event.kernel_stack.iter().take(event.kernel_frames as usize))
            .map(|frames| frames.copied().take_while(|&ip| ip != 0).collect()),
        user_stack: has(valid::invocation::USER_STACK)
            .then(|| event.user_stack.iter().take(event.user_frames as usize))
            .map(|frames| frames.map_while(user_frame).collect()),
    }
}

fn candidates(bytes: &[u8]) -> Result<Candidates, Malformed> {
    let (event, rest) = head::<CandidatesHead>(bytes);
    let list = list::<CandidateEntry>(rest, event.recorded, OLDEST_CANDIDATE_BYTES)?;
    Ok(Candidates { considered: event.considered, list: list.iter().map(candidate).collect() })
}

fn candidate(entry: &CandidateEntry) -> Candidate {
    let has = |bit| entry.flags & bit != 0;
    let returned = has(candidate::POINTS_RETURNED);
    Candidate {
        tgid: entry.tgid,
        tid: entry.tid,
        comm: name(&entry.comm),
        uid: has(candidate::UID).then_some(entry.uid),
        points: returned.then_some(entry.points),
        refused: entry.points == i64::MIN && !has(candidate::POINTS_UNKNOWN),
        memory: has(candidate::MM).then_some(Memory {
            counts: entry.counts,
            pgtables_bytes: entry.pgtables_bytes,
            total_vm: entry.total_vm,
        }),
        oom_score_adj: has(candidate::ADJ).then_some(entry.oom_score_adj),
        flags: entry.flags,
        order: entry.order,
    }
}

fn path(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<CgroupPath, Malformed> {
    let (event, rest) = head::<PathHead>(bytes);
    let text = rest.get(..event.len as usize).ok_or(Malformed::Count { announced: event.len })?;
    let from_root = has(valid::path::KERNEL_TEXT);
    let (names, cut_off) = if from_root { names_from_root(text) } else { names_from_leaf(text) };
    Ok(CgroupPath { id: event.cgroup_id, names, truncated: event.truncated != 0 || cut_off })
}

/// Splits the kernel's text of a path, which ends at its NUL. Also returns whether the text has no
/// NUL, so its end is cut off.
fn names_from_root(text: &[u8]) -> (Vec<Name>, bool) {
    let path = name(text).0;
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    (names.map(|name| Name(name.to_vec())).collect(), !text.contains(&0))
}

/// Turns names from leaf to root, each with its NUL, into names from the root down. Also returns
/// whether the last name is cut off, and so left out.
fn names_from_leaf(bytes: &[u8]) -> (Vec<Name>, bool) {
    let whole = bytes.iter().rposition(|&byte| byte == 0);
    let cut_off = whole.map_or(0, |last| last + 1) < bytes.len();
    let mut names: Vec<Name> = whole
        .and_then(|last| bytes.get(..last))
        .into_iter()
        .flat_map(|names| names.split(|&byte| byte == 0))
        .map(|name| Name(name.to_vec()))
        .collect();
    names.reverse();
    (names, cut_off)
}

fn levels(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<Levels, Malformed> {
    let (event, rest) = head::<LevelsHead>(bytes);
    let level = |entry: &LevelEntry| Level {
        memory: Counter { usage: entry.usage, max: entry.max },
        high: entry.high,
        low: entry.low,
        min: entry.min,
        swap: has(valid::levels::SWAP)
            .then_some(Counter { usage: entry.swap_usage, max: entry.swap_max }),
        kmem: has(valid::levels::KMEM)
            .then_some(Counter { usage: entry.kmem_usage, max: entry.kmem_max }),
    };
    Ok(Levels {
        cgroup_id: event.cgroup_id,
        list: list(rest, event.recorded, OLDEST_LEVEL_BYTES)?.iter().map(level).collect(),
        truncated: event.truncated != 0,
    })
}

fn victim(bytes: &[u8], has: impl Fn(u64) -> bool) -> Victim {
    let (event, _) = head::<VictimEvent>(bytes);
    let mut task = task(&event.task, has(valid::victim::TASK), has(valid::victim::CGROUP));
    if has(valid::victim::ADJ) {
        task.oom_score_adj = Some(event.task.oom_score_adj);
    }
    Victim {
        task,
        vpid: has(valid::victim::VPID).then_some(event.vpid),
        memory: has(valid::victim::MM).then_some(Memory {
            counts: event.counts,
            pgtables_bytes: event.pgtables_bytes,
            total_vm: event.total_vm,
        }),
        per_cpu: has(valid::victim::PER_CPU).then_some(event.per_cpu),
        mm: (event.mm != 0).then_some(event.mm),
        shares_mm: has(valid::victim::SHARES_MM),
        without_swap: has(valid::victim::NO_SWAP),
        is_compact: false,
    }
}

fn kill(bytes: &[u8], has: impl Fn(u64) -> bool) -> Kill {
    let (event, _) = head::<KillEvent>(bytes);
    let adj = i32::from(event.oom_score_adj);
    Kill {
        task: Task {
            tgid: event.tgid,
            tid: event.tid,
            comm: name(&event.comm),
            uid: event.uid,
            start_boottime_ns: has(valid::victim::TASK).then_some(event.start_boottime_ns),
            oom_score_adj: has(valid::victim::TASK | valid::victim::ADJ).then_some(adj),
            cgroup_id: has(valid::victim::CGROUP).then_some(event.cgroup_id),
        },
        cause: match event.cause {
            cause::MARKED => KillCause::Marked,
            cause::GROUP_MEMBER => KillCause::GroupMember,
            cause::SHARES_MM => KillCause::SharesMm,
            _ => KillCause::Unknown,
        },
        oom_memcg_id: has(valid::oom_memcg::ID).then_some(event.oom_memcg_id),
        is_memcg: match event.domain {
            domain::MEMCG => Some(true),
            domain::GLOBAL | domain::SYSRQ => Some(false),
            _ => None,
        },
        counts: has(valid::kill::MM).then(|| event.counts.map(i64::from)),
        pgtables_bytes: has(valid::kill::MM).then(|| u64::from(event.header.reserved) * 1024),
    }
}

fn mark(bytes: &[u8], has: impl Fn(u64) -> bool) -> Mark {
    let (event, _) = head::<MarkEvent>(bytes);
    let fields = has(valid::mark::FIELDS).then(|| MarkFields {
        comm: name(&event.comm),
        uid: event.uid,
        oom_score_adj: event.oom_score_adj,
        total_vm_kib: event.total_vm_kib,
        anon_kib: event.anon_kib,
        file_kib: event.file_kib,
        shmem_kib: event.shmem_kib,
        pgtables_kib: event.pgtables_kib,
    });
    Mark { tid: event.tid, fields }
}

fn end(bytes: &[u8], has: impl Fn(u64) -> bool) -> End {
    let (event, _) = head::<EndEvent>(bytes);
    let has_facts = has(valid::end::FACTS);
    End {
        result: (!has_facts).then_some(event.result != 0),
        chosen: (!has_facts).then_some(match event.chosen {
            chosen::NOBODY => Chosen::Nobody,
            chosen::TASK => Chosen::Task,
            chosen::ABORTED => Chosen::Aborted,
            _ => Chosen::Unknown,
        }),
        kill_calls: event.kill_calls,
        oom_kill_calls: (event.oom_kill_calls != u32::MAX).then_some(event.oom_kill_calls),
        victims: event.victims,
        selected: (!has_facts).then_some(event.selected != 0),
        facts: has_facts.then(|| facts_of_end(&event)),
        processes: has(valid::end::PROCESSES).then_some(event.processes),
    }
}

fn facts_of_end(event: &EndEvent) -> EndFacts {
    let fact = |bit| (event.facts_known & bit != 0).then_some(event.facts & bit != 0);
    EndFacts {
        trigger_is_victim: fact(end_facts::TRIGGER_IS_VICTIM),
        trigger_is_dying: fact(end_facts::TRIGGER_IS_DYING),
        suspended: fact(end_facts::SUSPENDED),
        has_notifiers: fact(end_facts::HAS_NOTIFIERS),
        without_fs: fact(end_facts::WITHOUT_FS),
        is_memcg: fact(end_facts::IS_MEMCG),
        evaluated: fact(end_facts::EVALUATED),
        printed: fact(end_facts::PRINTED),
    }
}

fn repeats(bytes: &[u8]) -> Repeats {
    let (event, _) = head::<RepeatsEvent>(bytes);
    Repeats { count: event.count, last_ns: event.last_ns }
}

fn reclaimed(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Reclaimed {
    let (event, _) = head::<ReclaimedEvent>(bytes);
    Reclaimed {
        trigger: task(&event.trigger, has(valid::trigger::TASK), has(valid::trigger::CGROUP)),
        oom_memcg: memcg(&event.oom_memcg, has),
        gfp_mask: event.gfp_mask,
        order: event.order,
        count: event.count,
    }
}

fn growing_process(bytes: &[u8]) -> GrowingProcess {
    let (event, _) = head::<GrowingProcessEvent>(bytes);
    GrowingProcess { tgid: event.tgid }
}

fn cgroup_made(bytes: &[u8]) -> CgroupMade {
    let (event, _) = head::<CgroupEvent>(bytes);
    CgroupMade { id: event.id, parent_id: event.parent_id }
}

fn stat(bytes: &[u8], has: impl Fn(u64) -> bool) -> Stat {
    let (event, _) = head::<StatEvent>(bytes);
    Stat {
        fresh: event.fresh != 0,
        counters: event.counters.to_vec(),
        fields: has(valid::stat::FIELDS).then(|| event.fields.to_vec()),
    }
}

fn victim_gone(bytes: &[u8], has: impl Fn(u64) -> bool) -> VictimGone {
    let (event, _) = head::<VictimGoneEvent>(bytes);
    VictimGone {
        step: match event.step {
            victim_gone::REAPER_WOKEN => VictimGoneStep::ReaperWoken,
            victim_gone::REAPING_STARTED => VictimGoneStep::ReapingStarted,
            victim_gone::REAPING_FINISHED => VictimGoneStep::ReapingFinished,
            victim_gone::REAPING_SKIPPED => VictimGoneStep::ReapingSkipped,
            victim_gone::EXITED => VictimGoneStep::Exited,
            victim_gone::FREEING => VictimGoneStep::Freeing,
            victim_gone::FREED => VictimGoneStep::Freed,
            _ => VictimGoneStep::Unknown,
        },
        tgid: (event.tgid != 0).then_some(event.tgid),
        tid: event.tid,
        mm: (event.mm != 0).then_some(event.mm),
        counts: has(valid::victim_gone::COUNTS).then_some(event.counts),
    }
}

fn wait(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Wait {
    let (event, _) = head::<WaitEvent>(bytes);
    Wait {
        trigger: task(&event.trigger, has(valid::trigger::TASK), has(valid::trigger::CGROUP)),
        oom_memcg: memcg(&event.oom_memcg, has),
        gfp_mask: has(valid::wait::REQUEST).then_some(event.gfp_mask),
        order: has(valid::wait::REQUEST).then_some(event.order.into()),
        ended: event.ended != 0,
    }
}

#[cfg(test)]
mod tests;
