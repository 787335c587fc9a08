//! Bytes of the ring -> [`Event`]. Pure and total: never panics, never invents.
//!
//! A record longer than this build knows is read as far as it is known; an unknown kind is
//! reported as such. Both are counted by the caller.

mod context;

use std::mem::offset_of;

use oomwhy_common::{
    event::{
        AfterEvent, CandidateEntry, CandidatesHead, CgroupEvent, EndEvent, EventHeader,
        GrowerEvent, InvocationEvent, LevelEntry, LevelsHead, MarkEvent, MemcgFacts, PathHead,
        ReclaimedEvent, RepeatsEvent, StatEvent, TaskFacts, USER_FRAMES, UserFrame as WireFrame,
        VictimEvent, WaitEvent, after, candidate, chosen, kind,
    },
    valid,
};
use thiserror::Error;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes as _, KnownLayout};

use crate::model::events::{
    After, AfterWhat, Body, Candidate, Candidates, CgroupMade, CgroupPath, Chosen, Control,
    Counter, End, Event, Grower, Invocation, Level, Levels, Mark, MarkFields, Memcg, Memory, Name,
    Reclaimed, Repeats, Stat, Task, Victim, Wait, user_frame,
};

/// Why bytes are not an event.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Shorter than what its kind needs.
    #[error("record of {length} bytes is too short for its kind")]
    Short {
        /// Bytes there were.
        length: usize,
    },
    /// A kind that this build does not know.
    #[error("unknown record kind {0}")]
    UnknownKind(u32),
    /// A count inside the record points past its end.
    #[error("record announces {announced} entries, more than it holds")]
    Count {
        /// Entries announced.
        announced: u32,
    },
}

/// Decodes one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Event, Malformed> {
    let (header, _) = head::<EventHeader>(bytes)?;
    let has = |bit| header.valid & bit != 0;
    let body = match header.kind {
        kind::INVOCATION => Body::Invocation(Box::new(invocation(bytes, has)?)),
        kind::CANDIDATES => Body::Candidates(candidates(bytes)?),
        kind::PATH => Body::Path(path(bytes)?),
        kind::LEVELS => Body::Levels(levels(bytes, has)?),
        kind::VICTIM => Body::Victim(Box::new(victim(bytes, has)?)),
        kind::END => Body::End(end(bytes)?),
        kind::REPEATS => Body::Repeats(repeats(bytes)?),
        kind::RECLAIMED => Body::Reclaimed(Box::new(reclaimed(bytes, has)?)),
        kind::CGROUP => Body::CgroupMade(cgroup_made(bytes)?),
        kind::STAT => Body::Stat(stat(bytes, has)?),
        kind::AFTER => Body::After(after(bytes, has)?),
        kind::WAIT => Body::Wait(Box::new(wait(bytes, has)?)),
        kind::GROWER => Body::Grower(grower(bytes)?),
        kind::MARK => Body::Mark(mark(bytes, has)?),
        kind::CONTEXT => Body::Context(context::context(bytes, has)?),
        unknown => return Err(Malformed::UnknownKind(unknown)),
    };
    Ok(Event { boottime_ns: header.boottime_ns, cpu: header.cpu, seq: header.seq, body })
}

/// The struct at the start of `bytes`, and what follows it.
fn head<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), Malformed> {
    T::read_from_prefix(bytes).map_err(|_| Malformed::Short { length: bytes.len() })
}

/// `count` structs at the start of `bytes`.
fn list<T: FromBytes + KnownLayout + Immutable>(
    bytes: &[u8],
    count: u32,
) -> Result<Vec<T>, Malformed> {
    let short = Malformed::Count { announced: count };
    let wanted = (count as usize).checked_mul(size_of::<T>()).ok_or_else(|| short.clone())?;
    let entries = bytes.get(..wanted).ok_or_else(|| short.clone())?;
    entries.chunks_exact(size_of::<T>()).map(|entry| head(entry).map(|(entry, _)| entry)).collect()
}

/// Bytes up to the first NUL: what is behind it is stale.
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
        id: has(valid::OOM_MEMCG_ID).then_some(facts.id),
        memory: has(valid::OOM_MEMCG).then_some(Counter { usage: facts.usage, max: facts.max }),
        swap: has(valid::OOM_MEMCG_SWAP)
            .then_some(Counter { usage: facts.swap_usage, max: facts.swap_max }),
        oom_group: has(valid::OOM_GROUP).then_some(facts.oom_group != 0),
    }
}

fn invocation(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Result<Invocation, Malformed> {
    let event = whole_invocation(bytes)?;
    let is_memcg = has(valid::OOM_MEMCG_ID) || has(valid::OOM_MEMCG);
    Ok(Invocation {
        started_ns: event.started_ns,
        trigger: task(&event.trigger, has(valid::TRIGGER), has(valid::TRIGGER_CGROUP)),
        control: has(valid::OOM_CONTROL).then_some(Control {
            totalpages: event.totalpages,
            chosen_points: event.chosen_points,
            gfp_mask: event.gfp_mask,
            order: event.order,
            constraint: event.constraint,
        }),
        is_memcg: has(valid::DOMAIN).then_some(is_memcg),
        oom_memcg: is_memcg.then(|| memcg(&event.oom_memcg, has)),
        chosen: has(valid::CHOSEN).then(|| task(&event.chosen, false, false)),
        considered: event.considered,
        choice_made: event.choice_made != 0,
        nodemask: has(valid::NODEMASK).then_some(event.nodemask),
        mems_allowed: has(valid::MEMS_ALLOWED).then_some(event.mems_allowed),
        message: has(valid::MESSAGE).then(|| name(&event.message)),
        kernel_stack: has(valid::KERNEL_STACK)
            .then(|| event.kernel_stack.iter().take(event.kernel_frames as usize))
            .map(|frames| frames.copied().take_while(|&ip| ip != 0).collect()),
        user_stack: has(valid::USER_STACK)
            .then(|| event.user_stack.iter().take(event.user_frames as usize))
            .map(|frames| frames.map_while(user_frame).collect()),
    })
}

/// The record with the empty end of the user stack, which is not sent.
fn whole_invocation(bytes: &[u8]) -> Result<InvocationEvent, Malformed> {
    let mut event = InvocationEvent::new_zeroed();
    let length = bytes.len().min(size_of::<InvocationEvent>());
    if let (Some(whole), Some(sent)) = (event.as_mut_bytes().get_mut(..length), bytes.get(..length))
    {
        whole.copy_from_slice(sent);
    }
    let frames = (event.user_frames as usize).min(USER_FRAMES);
    let announced = offset_of!(InvocationEvent, user_stack) + frames * size_of::<WireFrame>();
    if bytes.len() < announced {
        return Err(Malformed::Short { length: bytes.len() });
    }
    Ok(event)
}

fn candidates(bytes: &[u8]) -> Result<Candidates, Malformed> {
    let (event, rest) = head::<CandidatesHead>(bytes)?;
    let list = list::<CandidateEntry>(rest, event.recorded)?;
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

fn path(bytes: &[u8]) -> Result<CgroupPath, Malformed> {
    let (event, rest) = head::<PathHead>(bytes)?;
    let names = rest.get(..event.len as usize).ok_or(Malformed::Count { announced: event.len })?;
    let (names, cut_off) = names_from_leaf(names);
    Ok(CgroupPath { id: event.cgroup_id, names, truncated: event.truncated != 0 || cut_off })
}

/// Names that come leaf first, each with its NUL, from the root down; and whether the last one is cut
/// off, and so left out.
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
    let (event, rest) = head::<LevelsHead>(bytes)?;
    let level = |entry: &LevelEntry| Level {
        memory: Counter { usage: entry.usage, max: entry.max },
        high: entry.high,
        low: entry.low,
        min: entry.min,
        swap: has(valid::LEVELS_SWAP)
            .then_some(Counter { usage: entry.swap_usage, max: entry.swap_max }),
        kmem: has(valid::LEVELS_KMEM)
            .then_some(Counter { usage: entry.kmem_usage, max: entry.kmem_max }),
    };
    Ok(Levels {
        cgroup_id: event.cgroup_id,
        list: list::<LevelEntry>(rest, event.recorded)?.iter().map(level).collect(),
        truncated: event.truncated != 0,
    })
}

fn victim(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<Victim, Malformed> {
    let (event, _) = head::<VictimEvent>(bytes)?;
    let mut task = task(&event.task, has(valid::VICTIM_TASK), has(valid::VICTIM_CGROUP));
    if has(valid::VICTIM_ADJ) {
        task.oom_score_adj = Some(event.task.oom_score_adj);
    }
    Ok(Victim {
        task,
        vpid: has(valid::VICTIM_VPID).then_some(event.vpid),
        memory: has(valid::VICTIM_MM).then_some(Memory {
            counts: event.counts,
            pgtables_bytes: event.pgtables_bytes,
            total_vm: event.total_vm,
        }),
        per_cpu: has(valid::VICTIM_PER_CPU).then_some(event.per_cpu),
        mm: (event.mm != 0).then_some(event.mm),
        shares_mm: has(valid::VICTIM_SHARES_MM),
        without_swap: has(valid::VICTIM_NO_SWAP),
    })
}

fn mark(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<Mark, Malformed> {
    let (event, _) = head::<MarkEvent>(bytes)?;
    let fields = has(valid::MARK_FIELDS).then(|| MarkFields {
        comm: name(&event.comm),
        uid: event.uid,
        oom_score_adj: event.oom_score_adj,
        total_vm_kib: event.total_vm_kib,
        anon_kib: event.anon_kib,
        file_kib: event.file_kib,
        shmem_kib: event.shmem_kib,
        pgtables_kib: event.pgtables_kib,
    });
    Ok(Mark { tid: event.tid, fields })
}

fn end(bytes: &[u8]) -> Result<End, Malformed> {
    let (event, _) = head::<EndEvent>(bytes)?;
    Ok(End {
        result: event.result != 0,
        chosen: match event.chosen {
            chosen::NOBODY => Chosen::Nobody,
            chosen::TASK => Chosen::Task,
            chosen::ABORTED => Chosen::Aborted,
            _ => Chosen::Unknown,
        },
        kill_calls: event.kill_calls,
        shots: (event.shots != u32::MAX).then_some(event.shots),
        victims: event.victims,
        selected: event.selected != 0,
    })
}

fn repeats(bytes: &[u8]) -> Result<Repeats, Malformed> {
    let (event, _) = head::<RepeatsEvent>(bytes)?;
    Ok(Repeats { count: event.count, last_ns: event.last_ns })
}

fn reclaimed(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Result<Reclaimed, Malformed> {
    let (event, _) = head::<ReclaimedEvent>(bytes)?;
    Ok(Reclaimed {
        trigger: task(&event.trigger, has(valid::TRIGGER), has(valid::TRIGGER_CGROUP)),
        oom_memcg: memcg(&event.oom_memcg, has),
        gfp_mask: event.gfp_mask,
        order: event.order,
        count: event.count,
    })
}

fn grower(bytes: &[u8]) -> Result<Grower, Malformed> {
    let (event, _) = head::<GrowerEvent>(bytes)?;
    Ok(Grower { tgid: event.tgid })
}

fn cgroup_made(bytes: &[u8]) -> Result<CgroupMade, Malformed> {
    let (event, _) = head::<CgroupEvent>(bytes)?;
    Ok(CgroupMade { id: event.id, parent_id: event.parent_id })
}

fn stat(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<Stat, Malformed> {
    let (event, _) = head::<StatEvent>(bytes)?;
    Ok(Stat {
        fresh: event.fresh != 0,
        counters: event.counters.to_vec(),
        places: has(valid::STAT_PLACES).then(|| event.places.to_vec()),
    })
}

fn after(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<After, Malformed> {
    let (event, _) = head::<AfterEvent>(bytes)?;
    Ok(After {
        what: match event.what {
            after::REAPER_WOKEN => AfterWhat::ReaperWoken,
            after::REAPING_STARTED => AfterWhat::ReapingStarted,
            after::REAPING_FINISHED => AfterWhat::ReapingFinished,
            after::REAPING_SKIPPED => AfterWhat::ReapingSkipped,
            after::EXITED => AfterWhat::Exited,
            after::FREEING => AfterWhat::Freeing,
            after::FREED => AfterWhat::Freed,
            _ => AfterWhat::Unknown,
        },
        tgid: (event.tgid != 0).then_some(event.tgid),
        tid: event.tid,
        mm: (event.mm != 0).then_some(event.mm),
        counts: has(valid::AFTER_COUNTS).then_some(event.counts),
    })
}

fn wait(bytes: &[u8], has: impl Fn(u64) -> bool + Copy) -> Result<Wait, Malformed> {
    let (event, _) = head::<WaitEvent>(bytes)?;
    Ok(Wait {
        trigger: task(&event.trigger, has(valid::TRIGGER), has(valid::TRIGGER_CGROUP)),
        oom_memcg: memcg(&event.oom_memcg, has),
        gfp_mask: has(valid::WAIT_REQUEST).then_some(event.gfp_mask),
        order: has(valid::WAIT_REQUEST).then_some(event.order.into()),
        ended: event.ended != 0,
    })
}

#[cfg(test)]
mod tests;
