//! The tasks of an invocation: its trigger, its candidates, its victims.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cgroup, CgroupOwner, Frame, Who, is_false};

/// The task whose allocation invoked the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// Process (tgid), host pid namespace.
    pub pid: i32,
    /// Thread, where it differs from the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// Name of the thread; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The name's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// Real user id, initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The memcg it lives in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Its container and unit.
    #[serde(flatten)]
    pub home: CgroupOwner,
    /// What kind of memory it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<GfpMask>,
    /// It asked for 2^order pages; -1 for sysrq-f.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    /// Its stack in the kernel, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<Frame>>,
    /// Its stack in user space, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// Command line, executable, user, parents.
    #[serde(flatten)]
    pub who: Who,
}

/// A gfp_mask and its names as the kernel's log prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GfpMask {
    /// The mask.
    pub value: u32,
    /// GFP_* and __GFP_* names; what has no name is hex. Absent when the kernel's bits are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// The tasks that were weighed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidates {
    /// Tasks weighed.
    pub considered: u64,
    /// Tasks listed here: those with the most points.
    pub recorded: u64,
    /// Best first; those that may not be killed at the end.
    pub list: Vec<Candidate>,
}

/// One task that was weighed. points = anon + file + shmem + swap + pgtables + adj (+ drift), pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Place among the eligible, from 1; absent for those that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Process (tgid), host pid namespace.
    pub pid: i32,
    /// Thread, where it differs from the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// Name; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The name's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// Real user id, initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// oom_badness, pages; absent for those that may not be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Resident anonymous pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_pages: Option<i64>,
    /// Resident file pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_pages: Option<i64>,
    /// Resident shared memory and tmpfs pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_pages: Option<i64>,
    /// Resident pages of all three kinds, where only their sum is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_pages: Option<i64>,
    /// Swap entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_pages: Option<i64>,
    /// Page tables, in pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_pages: Option<i64>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Weight of oom_score_adj: oom_score_adj * (totalpages / 1000), pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adj_pages: Option<i64>,
    /// points minus the sum of its parts, pages: the kernel's counters are approximate. Absent when 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_pages: Option<i64>,
    /// Virtual size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// It may be killed.
    pub eligible: bool,
    /// Why it may not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<WhyNot>,
    /// This is the one that was chosen.
    pub chosen: bool,
}

/// Why a task may not be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// oom_score_adj is -1000.
    OomScoreAdjMin,
    /// The global init.
    Init,
    /// It has no memory of its own (any more).
    NoMm,
    /// Its memory was already reaped.
    OomSkip,
    /// It runs on its parent's memory.
    Vfork,
    /// The kernel refused, and nothing that was recorded says why.
    Unknown,
}

/// A process that was marked to die.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Victim {
    /// Process (tgid), host pid namespace.
    pub pid: i32,
    /// Thread that was marked, where it differs from the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// Process id in its own pid namespace, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpid: Option<i32>,
    /// Name; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The name's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// Real user id, initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Command line, executable, user, parents.
    #[serde(flatten)]
    pub who: Who,
    /// The memcg it lives in: task_memcg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Its container and unit.
    #[serde(flatten)]
    pub home: CgroupOwner,
    /// It was selected; false for those that die with it.
    pub chosen: bool,
    /// oom_badness, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Virtual size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// Resident anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_rss_bytes: Option<u64>,
    /// Resident file pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_rss_bytes: Option<u64>,
    /// Resident shared memory and tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_rss_bytes: Option<u64>,
    /// Swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Page tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
    /// Its stack in user space, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// When it was marked, CLOCK_BOOTTIME, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marked_at_ns: Option<u64>,
    /// From then to its exit, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited_after_ns: Option<u64>,
    /// What the reaper did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaped: Option<Reaped>,
    /// From marking to the return of its memory, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_after_ns: Option<u64>,
    /// Resident memory that its own exit gave back, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// Its memory was not back (where that cannot be seen: it had not exited) when the report was closed
    /// for being late.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stuck: bool,
    /// It shares the memory of this victim, and was killed for that: without a line in the kernel's
    /// log. Its memory is told there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares_mm_with: Option<i32>,
}

impl Victim {
    /// What is known of its memory: kinds and bytes.
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

/// What the reaper did to a victim's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reaped {
    /// From marking until it was told to look at it, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub woken_after_ns: Option<u64>,
    /// From marking to its start, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after_ns: Option<u64>,
    /// From marking to its end, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_after_ns: Option<u64>,
    /// It left the memory to somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Resident memory that it gave back: what was there when the victim was marked, less what was
    /// left when the victim's own exit came to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}
