//! What the probes said, decoded: kernel facts in kernel units, unknown as `None`.
//!
//! One type per record of the wire. They are also what `-o events` prints.

mod context;

use oomwhy_common::event::{UserFrame as WireFrame, mm};
use serde::{Serialize, Serializer};

use super::report::hex;

pub(crate) use self::context::{Context, Parent, Part};

/// One decoded record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// `CLOCK_BOOTTIME` when the probe wrote it, ns.
    pub boottime_ns: u64,
    /// CPU that wrote it.
    pub cpu: u32,
    /// Number of the invocation it belongs to; 0 for none.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Body {
    /// The killer made its choice, or ended without one.
    Invocation(Box<Invocation>),
    /// Who was weighed.
    Candidates(Candidates),
    /// Where a cgroup is.
    Path(CgroupPath),
    /// Limits from a cgroup up to the root.
    Levels(Levels),
    /// A task was marked to die.
    Victim(Box<Victim>),
    /// `out_of_memory` returned.
    End(End),
    /// Invocations in a row without a victim.
    Repeats(Repeats),
    /// A memcg had room again: no invocation.
    Reclaimed(Box<Reclaimed>),
    /// A cgroup was made.
    CgroupMade(CgroupMade),
    /// What the oom_memcg's memory was.
    Stat(Stat),
    /// What became of a victim.
    After(After),
    /// A task waits because the OOM killer of its memcg is disabled.
    Wait(Box<Wait>),
    /// A task was marked to die, and no more is hooked.
    Mark(Mark),
    /// Part of who the trigger or a victim is.
    Context(Context),
    /// A process grows in a memcg near its limit.
    Grower(Grower),
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Process.
    pub tgid: i32,
    /// Thread.
    pub tid: i32,
    /// Name of the thread.
    pub comm: Name,
    /// Real uid in the initial user namespace.
    pub uid: u32,
    /// `start_boottime`, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_boottime_ns: Option<u64>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Id of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
}

/// One run of the OOM killer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Invocation {
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    /// Current.
    pub trigger: Task,
    /// `oom_control`.
    #[serde(flatten)]
    pub control: Option<Control>,
    /// Whether a memcg's limit was hit (false: global); `None` when that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_memcg: Option<bool>,
    /// Whose limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_memcg: Option<Memcg>,
    /// Who was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Task>,
    /// Tasks weighed.
    pub considered: u32,
    /// Written at `oom_kill_process` entry: the killer meant to kill.
    pub choice_made: bool,
    /// The nodes that the allocation is bound to, bit n for node n; 0: not bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodemask: Option<u64>,
    /// The nodes that current may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems_allowed: Option<u64>,
    /// The kernel's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Name>,
    /// Addresses, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<u64>>,
    /// Frames, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<UserFrame>>,
}

/// `struct oom_control`. Pages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Size of the domain.
    pub totalpages: u64,
    /// Points of the chosen one so far.
    pub chosen_points: i64,
    /// What was asked for.
    pub gfp_mask: u32,
    /// 2^order pages; -1 for sysrq-f.
    pub order: i32,
    /// `enum oom_constraint`.
    pub constraint: u32,
}

/// A memory cgroup and its counters. Pages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memcg {
    /// kernfs id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// memory usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Counter>,
    /// swap (v1: memsw) usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Counter>,
    /// memory.oom.group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
}

/// A `page_counter`. Pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// Charged.
    pub usage: u64,
    /// Limit.
    pub max: u64,
}

/// A frame of a user stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum UserFrame {
    /// The file is known.
    File {
        /// GNU build id, hex.
        build_id: String,
        /// Offset in the file.
        file_offset: u64,
    },
    /// Only the address is.
    Ip {
        /// Address.
        ip: u64,
    },
}

/// The candidate table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidates {
    /// Tasks weighed.
    pub considered: u32,
    /// Those that are listed, in no particular order.
    pub list: Vec<Candidate>,
}

/// One task that was weighed. Pages unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Process.
    pub tgid: i32,
    /// Thread.
    pub tid: i32,
    /// Name.
    pub comm: Name,
    /// Real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What `oom_badness` returned; `i64::MIN` for a task that must not be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Whether the task must not be killed, where `points` is not what the kernel returned.
    pub refused: bool,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Option<Memory>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Bits of `oomwhy_common::event::candidate`.
    pub flags: u32,
    /// Position in the kernel's order of weighing.
    pub order: u32,
}

/// What an `mm_struct` counts. Pages unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Index `oomwhy_common::event::mm`.
    pub counts: [i64; mm::COUNT],
    /// Bytes.
    pub pgtables_bytes: u64,
    /// Virtual size.
    pub total_vm: u64,
}

/// Where a cgroup is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupPath {
    /// kernfs id.
    pub id: u64,
    /// Names from the root down; empty for the root.
    pub names: Vec<Name>,
    /// More levels above than were recorded.
    pub truncated: bool,
}

/// Limits from a cgroup up to the root.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Levels {
    /// kernfs id of the first one's cgroup.
    pub cgroup_id: u64,
    /// From the leaf up.
    pub list: Vec<Level>,
    /// More levels above than were recorded.
    pub truncated: bool,
}

/// Limits of one cgroup. Pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// memory usage and max.
    pub memory: Counter,
    /// memory.high
    pub high: u64,
    /// memory.low
    pub low: u64,
    /// memory.min
    pub min: u64,
    /// swap (v1: memsw) usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Counter>,
    /// v1 only: kmem usage and max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem: Option<Counter>,
}

/// A task that was marked to die.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Victim {
    /// Who.
    #[serde(flatten)]
    pub task: Task,
    /// tgid in its own pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpid: Option<i32>,
    /// Its memory by a plain read of the counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What the counters' per-CPU batches hold besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_cpu: Option<[i64; mm::COUNT]>,
    /// Its memory, as an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mm: Option<u64>,
    /// Not marked: killed because it shares the memory of the victim before it.
    pub shares_mm: bool,
    /// The swap in `memory` was not read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_swap: bool,
}

/// `out_of_memory` returned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct End {
    /// Return value.
    pub result: bool,
    /// `oom_control.chosen`.
    pub chosen: Chosen,
    /// Entries into `oom_kill_process`.
    pub kill_calls: u32,
    /// Entries into `__oom_kill_process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<u32>,
    /// `mark_victim` seen.
    pub victims: u32,
    /// The selection was reached.
    pub selected: bool,
}

/// `oom_control.chosen` when `out_of_memory` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// NULL.
    Nobody,
    /// A task.
    Task,
    /// -1: an earlier victim is still dying.
    Aborted,
    /// Not read, or a value that this build does not know.
    Unknown,
}

/// Invocations in a row without a victim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// How many, the first included.
    pub count: u64,
    /// Return of the latest, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
}

/// A memcg had room again when its turn came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reclaimed {
    /// Current.
    pub trigger: Task,
    /// Who was over its limit.
    pub oom_memcg: Memcg,
    /// What was asked for.
    pub gfp_mask: u32,
    /// 2^order pages.
    pub order: i32,
    /// How many such calls so far, this one included.
    pub count: u64,
}

/// Raw statistics of the oom_memcg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// The kernel had just flushed them; else they are as old as its latest flush.
    pub fresh: bool,
    /// In the unit of each.
    pub counters: Vec<i64>,
    /// Where a counter is, by its number; `None`: at its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<u8>>,
}

/// What became of a victim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct After {
    /// What happened.
    pub what: AfterWhat,
    /// The process, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tgid: Option<i32>,
    /// The thread.
    pub tid: i32,
    /// Its memory, as an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mm: Option<u64>,
    /// What is left of the memory, pages, index `oomwhy_common::event::mm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<[i64; mm::COUNT]>,
}

/// Stages of a victim's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterWhat {
    /// The reaper shall look at it.
    ReaperWoken,
    /// The reaper began.
    ReapingStarted,
    /// The reaper is done.
    ReapingFinished,
    /// The reaper left it to somebody else.
    ReapingSkipped,
    /// Its last thread exited.
    Exited,
    /// Nobody uses its memory any more.
    Freeing,
    /// Its memory is back.
    Freed,
    /// Something this build does not know.
    Unknown,
}

/// A task waits, or has stopped to wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// Current.
    pub trigger: Task,
    /// Whose OOM killer is disabled.
    pub oom_memcg: Memcg,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<u32>,
    /// 2^order pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    /// It waits no longer.
    pub ended: bool,
}

/// A task was marked to die, where nothing else is hooked. A [`Victim`] that says more may have come
/// before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The thread that was marked.
    pub tid: i32,
    /// What the tracepoint's record has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<MarkFields>,
}

/// What the tracepoint's record has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkFields {
    /// Name of the thread.
    pub comm: Name,
    /// Real uid.
    pub uid: u32,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Virtual size, KiB.
    pub total_vm_kib: u64,
    /// KiB.
    pub anon_kib: u64,
    /// KiB.
    pub file_kib: u64,
    /// KiB.
    pub shmem_kib: u64,
    /// KiB.
    pub pgtables_kib: u64,
}

/// A process grows in a memcg near its limit; told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Grower {
    /// The process.
    pub tgid: i32,
}

/// A cgroup was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CgroupMade {
    /// kernfs id.
    pub id: u64,
    /// Its parent's.
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
