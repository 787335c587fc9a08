//! Decoded records of the probes: kernel facts in kernel units, unknown as `None`.
//!
//! There is one type per record of the wire. `-o events` prints them, so their serialized names
//! stay.

mod context;
#[cfg(test)]
pub(crate) mod samples;

use oomwhy_common::event::{UserFrame as WireFrame, mm};
use serde::{Serialize, Serializer};

use super::{lru::ByteSize, report::hex, shed::Shed};

pub(crate) use self::context::{Context, Parent, Part};

/// One decoded record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When the probe wrote it, `CLOCK_BOOTTIME` ns.
    pub boottime_ns: u64,
    pub cpu: u32,
    /// Sequence number of the invocation that it belongs to; 0 for none.
    pub seq: u64,
    /// Details of its invocation that the probes had shed by then.
    #[serde(skip_serializing_if = "Shed::is_nothing")]
    pub shed: Shed,
    #[serde(flatten)]
    pub body: Body,
}

/// Content of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Body {
    /// The OOM killer made its choice, or ended without one.
    Invocation(Box<Invocation>),
    /// The tasks that the kernel evaluated.
    Candidates(Candidates),
    /// Path of a cgroup.
    Path(CgroupPath),
    /// Limits from a cgroup up to the root.
    Levels(Levels),
    /// A task was marked to die.
    Victim(Box<Victim>),
    /// A process is killed. This record arrives even if all details are lost.
    Kill(Box<Kill>),
    End(End),
    /// Invocations in a row without a victim.
    Repeats(Repeats),
    /// A memcg had room again, so there was no invocation.
    Reclaimed(Box<Reclaimed>),
    /// A cgroup was made.
    CgroupMade(CgroupMade),
    /// Statistics of the oom_memcg.
    Stat(Stat),
    /// A step of a victim's end.
    #[serde(rename = "after")]
    VictimGone(VictimGone),
    /// A task waits because the OOM killer of its memcg is disabled.
    Wait(Box<Wait>),
    /// A task was marked to die on a host where nothing else is hooked.
    Mark(Mark),
    /// A part of the details of the trigger or a victim.
    Context(Context),
    /// A process grows in a memcg near its limit.
    #[serde(rename = "grower")]
    GrowingProcess(GrowingProcess),
}

/// Bytes from the kernel that should be text; untrusted, maybe not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Identity of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Task {
    pub tgid: i32,
    pub tid: i32,
    pub comm: Name,
    /// Real uid in the initial user namespace.
    pub uid: u32,
    /// From `task_struct.start_boottime`, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_boottime_ns: Option<u64>,
    /// From -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// kernfs id of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
}

/// One run of the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Invocation {
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    /// The current task.
    pub trigger: Task,
    #[serde(flatten)]
    pub control: Option<Control>,
    /// Whether a memcg's limit was hit (false: global); `None` when that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_memcg: Option<bool>,
    /// The memcg whose limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_memcg: Option<Memcg>,
    /// The chosen task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Task>,
    /// Number of tasks that the kernel evaluated.
    pub considered: u32,
    /// Written at the entry of `oom_kill_process`, so the killer meant to kill.
    pub choice_made: bool,
    /// The nodes that the allocation is bound to, bit n for node n; 0 if it is not bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodemask: Option<u64>,
    /// The nodes that the current task may use, bit n for node n.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems_allowed: Option<u64>,
    /// The message that the kernel logs before the name of the victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Name>,
    /// Addresses in the kernel, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<u64>>,
    /// Frames, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<UserFrame>>,
}

/// Parts of `struct oom_control`. Sizes are in pages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Size of the domain in pages.
    pub totalpages: u64,
    /// Points of the task that is chosen so far.
    pub chosen_points: i64,
    /// Flags of the request.
    pub gfp_mask: u32,
    /// The request is for 2^order pages; -1 for sysrq-f.
    pub order: i32,
    /// Value of `enum oom_constraint`; `None` if the kernel had not computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<u32>,
}

/// A memory cgroup and its counters. Sizes are in pages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memcg {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// memory usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Counter>,
    /// swap (v1: memsw) usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
}

/// A `page_counter`, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    pub usage: u64,
    pub max: u64,
}

/// A frame of a user stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum UserFrame {
    /// A frame in a file with a build id.
    File {
        /// GNU build id in hex.
        build_id: String,
        /// Offset in the file.
        file_offset: u64,
    },
    /// A frame of which only the address is known.
    Ip { ip: u64 },
}

impl ByteSize for Name {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.0.len()
    }
}

impl ByteSize for Parent {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.comm.0.len()
    }
}

impl ByteSize for UserFrame {
    fn byte_size(&self) -> usize {
        let build_id = match self {
            Self::File { build_id, .. } => build_id.len(),
            Self::Ip { .. } => 0,
        };
        size_of::<Self>() + build_id
    }
}

/// The candidate table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidates {
    /// Number of tasks that the kernel evaluated.
    pub considered: u32,
    /// The recorded tasks, in no particular order.
    pub list: Vec<Candidate>,
}

/// A task that the kernel evaluated. Sizes are in pages unless stated otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    pub tgid: i32,
    pub tid: i32,
    pub comm: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The return value of `oom_badness`; `i64::MIN` for a task that must not be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Whether the task must not be killed. It can be true even if `points` is absent.
    pub refused: bool,
    #[serde(flatten)]
    pub memory: Option<Memory>,
    /// From -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Bits of `oomwhy_common::event::candidate`.
    pub flags: u32,
    /// Position in the kernel's order of evaluation.
    pub order: u32,
}

/// Counters of an `mm_struct`. Sizes are in pages unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Pages by kind; the index is in `oomwhy_common::event::mm`.
    pub counts: [i64; mm::COUNT],
    pub pgtables_bytes: u64,
    /// Virtual size in pages.
    pub total_vm: u64,
}

/// Path of a cgroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupPath {
    pub id: u64,
    /// Names from the root down; empty for the root.
    pub names: Vec<Name>,
    /// More levels above than were recorded.
    pub truncated: bool,
}

/// Limits from a cgroup up to the root.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Levels {
    /// kernfs id of the first level's cgroup.
    pub cgroup_id: u64,
    /// From the leaf up.
    pub list: Vec<Level>,
    /// More levels above than were recorded.
    pub truncated: bool,
}

/// Limits of one cgroup, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// memory usage and max.
    pub memory: Counter,
    pub high: u64,
    pub low: u64,
    pub min: u64,
    /// swap (v1: memsw) usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Counter>,
    /// v1 only: kmem usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem: Option<Counter>,
}

/// A task that was marked to die.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Victim {
    #[serde(flatten)]
    pub task: Task,
    /// Process id in its own pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpid: Option<i32>,
    /// Its memory by a plain read of the counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Pages that the per-CPU batches of the counters hold besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_cpu: Option<[i64; mm::COUNT]>,
    /// Address of its `mm_struct`, as an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mm: Option<u64>,
    /// It is not marked, but killed because it shares the memory of the victim before it.
    pub shares_mm: bool,
    /// The swap in `memory` was not read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_swap: bool,
    /// Only its compact record is known: `total_vm` in `memory` is not set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_compact: bool,
}

/// The compact record of a kill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kill {
    #[serde(flatten)]
    pub task: Task,
    pub cause: KillCause,
    /// Id of the memcg whose limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_memcg_id: Option<u64>,
    /// Whether the limit of a memcg was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_memcg: Option<bool>,
    /// Counters of its memory by a plain read, pages, index [`mm`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<[i64; mm::COUNT]>,
    /// Memory of its page tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
}

/// Why a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KillCause {
    /// It was the first one to be marked in its invocation.
    Marked,
    /// It was marked after another one, with the rest of its group.
    GroupMember,
    /// It shares the memory of the victim before it.
    SharesMm,
    /// A cause that only newer probes have.
    Unknown,
}

/// An invocation is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct End {
    /// Return value of `out_of_memory`. Older probes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<bool>,
    /// Older probes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// Number of entries into `oom_kill_process`.
    pub kill_calls: u32,
    /// Number of entries into `__oom_kill_process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "shots")]
    pub oom_kill_calls: Option<u32>,
    /// Number of calls of `mark_victim`.
    pub victims: u32,
    /// Whether the kernel got to the selection of a task. Older probes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<bool>,
    /// Facts in place of the keys that only older probes have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<EndFacts>,
    /// Number of killed processes, each counted once. Older probes do not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
}

/// Facts that decide the outcome of an invocation that kills no process. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndFacts {
    /// At entry the trigger was a victim already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_is_victim: Option<bool>,
    /// At entry the trigger was exiting or had been sent SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_is_dying: Option<bool>,
    /// At entry the OOM killer was disabled, because the machine suspends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// A driver may free memory when it is notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_notifiers: Option<bool>,
    /// The allocation is without `__GFP_FS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_fs: Option<bool>,
    /// A memcg's limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_memcg: Option<bool>,
    /// The kernel evaluated a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluated: Option<bool>,
    /// The kernel printed the memcg's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printed: Option<bool>,
}

/// `oom_control.chosen` when `out_of_memory` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// It is NULL.
    Nobody,
    /// It points to a task.
    Task,
    /// It is -1, because an earlier victim is still dying.
    Aborted,
    /// It was not read, or this build does not know the value.
    Unknown,
}

/// Invocations in a row without a victim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// Number of invocations, the first included.
    pub count: u64,
    /// Return of the latest invocation, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
}

/// A memcg had room again before the OOM killer began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reclaimed {
    /// The current task.
    pub trigger: Task,
    /// The memcg that was over its limit.
    pub oom_memcg: Memcg,
    /// Flags of the request.
    pub gfp_mask: u32,
    /// The request is for 2^order pages.
    pub order: i32,
    /// Number of such calls so far, this one included.
    pub count: u64,
}

/// Raw statistics of the oom_memcg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// The kernel had just flushed them; otherwise they are as old as its latest flush.
    pub fresh: bool,
    /// Counters, each in the unit of its kind.
    pub counters: Vec<i64>,
    /// Index of each counter by its number; `None` if each is at its number.
    #[serde(rename = "places", skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<u8>>,
}

/// A step of a victim's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VictimGone {
    #[serde(rename = "what")]
    pub step: VictimGoneStep,
    /// Process id, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tgid: Option<i32>,
    pub tid: i32,
    /// Address of its `mm_struct`, as an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mm: Option<u64>,
    /// Remaining pages by kind; the index is in `oomwhy_common::event::mm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<[i64; mm::COUNT]>,
}

/// The steps of a victim's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VictimGoneStep {
    /// The OOM reaper was woken for it.
    ReaperWoken,
    /// The reaper began to free its memory.
    ReapingStarted,
    /// The reaper freed all memory that it could.
    ReapingFinished,
    /// The reaper left its memory to the exit.
    ReapingSkipped,
    /// Its last thread exited.
    Exited,
    /// The last user of its memory is gone.
    Freeing,
    /// Its memory is free again.
    Freed,
    /// This build does not know the step.
    Unknown,
}

/// A task begins or stops to wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// The current task.
    pub trigger: Task,
    /// The memcg whose OOM killer is disabled.
    pub oom_memcg: Memcg,
    /// Flags of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<u32>,
    /// The request is for 2^order pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    /// The task has stopped to wait.
    pub ended: bool,
}

/// A task was marked to die on a host where nothing else is hooked. A [`Victim`] with more facts
/// may have come before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The thread that was marked.
    pub tid: i32,
    /// Fields of the tracepoint's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<MarkFields>,
}

/// Fields of the tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkFields {
    pub comm: Name,
    pub uid: u32,
    /// From -1000 to 1000.
    pub oom_score_adj: i32,
    pub total_vm_kib: u64,
    pub anon_kib: u64,
    pub file_kib: u64,
    pub shmem_kib: u64,
    pub pgtables_kib: u64,
}

/// A process grows in a memcg near its limit. There is one event per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GrowingProcess {
    pub tgid: i32,
}

/// A cgroup was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CgroupMade {
    pub id: u64,
    /// kernfs id of its parent.
    pub parent_id: u64,
}

/// A frame; `None` behind the last one. The kernel's unwinder follows frame pointers, which may
/// lead anywhere, so the stack ends at the first value that cannot be an address in user space.
pub(crate) fn user_frame(frame: &WireFrame) -> Option<UserFrame> {
    /// x86-64 has 57 bits with five levels of page tables, half of them the kernel's; arm64 has 52.
    const NO_ADDRESS: u64 = 1 << 56;
    match frame.status {
        1 => Some(UserFrame::File {
            build_id: hex(&frame.build_id),
            file_offset: frame.offset_or_ip,
        }),
        2 if (1..NO_ADDRESS).contains(&frame.offset_or_ip) => {
            Some(UserFrame::Ip { ip: frame.offset_or_ip })
        }
        _ => None,
    }
}
