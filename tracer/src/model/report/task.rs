//! The tasks of an invocation: trigger, candidates and victims.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cgroup, CgroupOwner, Frame, Who, is_false};

/// The task whose allocation invoked the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// Process id (tgid) in the host's pid namespace.
    pub pid: i32,
    /// Thread id, if it differs from the process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// The name of the thread; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The bytes of the name in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// The real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// oom_score_adj, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The memory cgroup of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// The container and the systemd unit of the task.
    #[serde(flatten)]
    pub owner: CgroupOwner,
    /// The flags of the allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<GfpMask>,
    /// The order of the allocation: it requested 2^order pages. -1 for sysrq-f.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    /// The kernel stack, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<Frame>>,
    /// The user stack, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// Command line, executable, user and parents of the process.
    #[serde(flatten)]
    pub who: Who,
}

/// The flags of an allocation (gfp_mask), named as in the kernel log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GfpMask {
    /// The numeric value of the mask.
    pub value: u32,
    /// GFP_* and __GFP_* names; bits without a name are hex. Absent if the bits of this kernel are
    /// unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// The tasks that the kernel evaluated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidates {
    /// The number of tasks that the kernel evaluated.
    pub considered: u64,
    /// The number of tasks in the list. They are those with the most points.
    pub recorded: u64,
    /// The tasks by points, highest first. Tasks that may not be killed come last.
    pub list: Vec<Candidate>,
}

/// A task that the kernel evaluated. points = anon + file + shmem + swap + pgtables + adj (+
/// drift), all in pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The rank among the eligible tasks, from 1; absent for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Process id (tgid) in the host's pid namespace.
    pub pid: i32,
    /// Thread id, if it differs from the process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// The name of the task; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The bytes of the name in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// The real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// oom_badness, pages; absent for tasks that may not be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Resident anonymous memory, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_pages: Option<i64>,
    /// Resident file memory, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_pages: Option<i64>,
    /// Resident shared memory and tmpfs, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_pages: Option<i64>,
    /// Resident memory, pages, if only the sum of the three kinds is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_pages: Option<i64>,
    /// Swap entries, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_pages: Option<i64>,
    /// Page tables, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_pages: Option<i64>,
    /// oom_score_adj, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The points from oom_score_adj: oom_score_adj * (totalpages / 1000), pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adj_pages: Option<i64>,
    /// points minus the sum of the parts, pages, due to approximate counters. Absent if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_pages: Option<i64>,
    /// The virtual size, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// True if the task may be killed.
    pub eligible: bool,
    /// Why the task may not be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<WhyNot>,
    /// True for the task that the kernel chose.
    pub chosen: bool,
}

/// Why a task may not be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// oom_score_adj is -1000.
    OomScoreAdjMin,
    /// The task is the init process of the host.
    Init,
    /// The task has no memory of its own, or has released it.
    NoMm,
    /// The memory of the task was already reaped.
    OomSkip,
    /// The task uses the memory of its parent (vfork).
    Vfork,
    /// The kernel skipped the task, and the recorded facts do not show why.
    Unknown,
}

/// A process that the kernel killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Victim {
    /// Process id (tgid) in the host's pid namespace.
    pub pid: i32,
    /// Id of the marked thread, if it differs from the process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// Process id in the pid namespace of the process, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpid: Option<i32>,
    /// The name of the task; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The bytes of the name in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// The real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Command line, executable, user and parents of the process.
    #[serde(flatten)]
    pub who: Who,
    /// The memory cgroup of the process (task_memcg in the kernel log).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// The container and the systemd unit of the task.
    #[serde(flatten)]
    pub owner: CgroupOwner,
    /// True for the process that the kernel chose; false for those killed with it.
    pub chosen: bool,
    /// The kernel's badness (`oom_badness()`), pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// oom_score_adj, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The virtual size, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// Resident anonymous memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_rss_bytes: Option<u64>,
    /// Resident file memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_rss_bytes: Option<u64>,
    /// Resident shared memory and tmpfs, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_rss_bytes: Option<u64>,
    /// Swapped-out memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Page tables, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
    /// The user stack, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// When the process was marked as a victim, CLOCK_BOOTTIME, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marked_at_ns: Option<u64>,
    /// The time from marking to exit, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited_after_ns: Option<u64>,
    /// The work of the OOM reaper on the memory of the victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaped: Option<Reaped>,
    /// The time from marking until its memory was released, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_after_ns: Option<u64>,
    /// Resident memory that its own exit released, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// True if the memory was not released before the deadline of the report. If the release cannot
    /// be observed, true if the process had not exited.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stuck: bool,
    /// The pid of the victim whose memory this process shares. It was killed for that reason,
    /// without a line in the kernel log. The memory is listed with that victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares_mm_with: Option<i32>,
}

impl Victim {
    /// The known parts of its memory: kind and bytes.
    pub fn memory(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sizes = [
            ("anon", self.anon_rss_bytes),
            ("file", self.file_rss_bytes),
            ("shmem", self.shmem_rss_bytes),
            ("swap", self.swap_bytes),
            ("page tables", self.pgtables_bytes),
            ("virtual", self.total_vm_bytes),
        ];
        sizes.into_iter().filter_map(|(kind, size)| Some((kind, size?)))
    }
}

/// The times and the result of the OOM reaper's work on the memory of a victim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reaped {
    /// The time from marking until the reaper was woken, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub woken_after_ns: Option<u64>,
    /// The time from marking until the reaper started, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after_ns: Option<u64>,
    /// The time from marking until the reaper finished, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_after_ns: Option<u64>,
    /// True if the reaper skipped the process and left the memory to its exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Resident memory that the reaper released, bytes: the memory at marking minus the memory that
    /// was left for the exit of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}
