//! The public model: what `-o json` prints and other tools build on (docs/record.md).
//!
//! Schema 1: keys may be added, never renamed or changed in meaning. What is not known is an absent
//! key, never null and never 0. Bytes, RFC 3339 times and pages (candidates only) are the units;
//! nothing here converts, looks up or prints.

mod bytes;
mod container;
mod growth;
mod memory;
mod schema;
mod source;
mod stack;
mod system;
mod task;
mod verdict;
mod who;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use bytes::{hex, lossy, original};
pub(crate) use container::{CgroupOwner, Container};
pub(crate) use growth::{Growth, GrowthPoint, GrowthRate, GrowthStack};
pub(crate) use memory::LimitLevel;
pub use memory::{Cgroup, OomMemcg};
pub(crate) use schema::json_schema;
pub(crate) use source::{Missing, NOT_IN_LOG};
pub use source::{Source, Tier};
pub(crate) use stack::Frame;
pub(crate) use system::{Node, System, Zone};
pub(crate) use task::{Candidate, Candidates, GfpMask, Reaped, WhyNot};
pub use task::{Trigger, Victim};
pub(crate) use verdict::Verdict;
pub(crate) use who::{Parent, Who};

/// Version of the contract, `schema` in every record.
pub(crate) const SCHEMA: u32 = 1;

/// One record of the stream: one object, one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// One invocation of the OOM killer.
    Oom(Box<OomReport>),
    /// The kernel counted kills that were not seen.
    Gap(GapReport),
    /// Kernel-side records were lost because the ring was full.
    Loss(LossReport),
}

/// The account of one invocation of the OOM killer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OomReport {
    /// Version of this contract: 1.
    pub schema: u32,
    /// Sortable and stable: the same events give the same id.
    pub id: String,
    /// Entry into out_of_memory, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// The same moment on CLOCK_BOOTTIME, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boottime_ns: Option<u64>,
    /// /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Kernel release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// How the invocation ended.
    pub outcome: Outcome,
    /// Why this victim: by selection, because it allocated, or because sysrq asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Invocations folded into this report, the first included; absent for a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// End of the last of the folded invocations, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub repeats_until: Option<Timestamp>,
    /// The domain that ran out of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// The kernel's words, e.g. "Memory cgroup out of memory".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The nodes that the allocation was bound to, as in "0-1"; absent where it was not bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodemask: Option<String>,
    /// The nodes that the trigger may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems_allowed: Option<String>,
    /// Outcome `disabled` only: how long the trigger waited; absent while it still does. ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ns: Option<u64>,
    /// Size of the domain (limit plus usable swap, or RAM plus swap), not anyone's usage. Pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totalpages: Option<u64>,
    /// Bytes of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// The task whose allocation invoked the OOM killer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The memcg whose limit was hit; absent for a global OOM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_memcg: Option<OomMemcg>,
    /// Limits from the chosen task's memcg (the oom_memcg when nobody was chosen) up to the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_chain: Option<Vec<LimitLevel>>,
    /// The chain has more levels than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub limit_chain_truncated: bool,
    /// The host's memory; absent where a memcg's limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// The tasks that were weighed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Candidates>,
    /// Processes marked to die; empty when there was none.
    pub victims: Vec<Victim>,
    /// What grew before the invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// What to conclude.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The same for kills of the same executable, under the same limit, for the same cause; behind a
    /// dash where in the program, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Where all this comes from, and what could not be known.
    pub source: Source,
}

impl OomReport {
    /// A report that knows nothing but how the invocation ended.
    pub fn new(id: String, outcome: Outcome, source: Source) -> Self {
        Self {
            schema: SCHEMA,
            id,
            time: None,
            boottime_ns: None,
            boot_id: None,
            host: None,
            kernel: None,
            outcome,
            reason: None,
            repeats: None,
            repeats_until: None,
            constraint: None,
            message: None,
            nodemask: None,
            mems_allowed: None,
            waited_ns: None,
            totalpages: None,
            page_size: None,
            trigger: None,
            oom_memcg: None,
            limit_chain: None,
            limit_chain_truncated: false,
            system: None,
            candidates: None,
            victims: Vec::new(),
            growth: None,
            verdict: None,
            fingerprint: None,
            source,
        }
    }
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one process was killed.
    Killed,
    /// A task was chosen, but it was exiting already: nobody was shot.
    AlreadyExiting,
    /// The trigger was dying anyway: marked without a selection.
    WillFreeMem,
    /// An earlier victim is still dying: the killer waits for it.
    VictimPending,
    /// No killable task.
    NoVictim,
    /// The memcg had room again: nothing to do.
    Reclaimed,
    /// cgroup v1 with memory.oom_control = 1: the task waits, nobody is killed.
    Disabled,
    /// The record of the end was lost (`source.missing` says so).
    Unknown,
}

/// Why this victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The candidate with the most points.
    Selection,
    /// vm.oom_kill_allocating_task: the trigger itself.
    AllocatingTask,
    /// Asked for with sysrq-f.
    Sysrq,
}

/// `enum oom_constraint`: the domain that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The whole host.
    None,
    /// The memory nodes of a cpuset.
    Cpuset,
    /// The memory nodes of a memory policy.
    MemoryPolicy,
    /// A memory cgroup.
    Memcg,
}

/// The kernel counted kills that were not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapReport {
    /// Version of this contract: 1.
    pub schema: u32,
    /// When the gap was noticed, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The memory cgroup whose counter it was; absent: the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Kills the kernel counted (the first victim of a memory.oom.group twice).
    pub expected: u64,
    /// Of these, kills that were seen, reported or filtered out.
    pub seen: u64,
    /// Kernel-side records lost in the same time; 0: what was not seen went past the probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
    /// Start of the time both were counted in, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// Kernel-side records were lost because the ring was full, or records of the kernel's log because
/// it was overwritten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossReport {
    /// Version of this contract: 1.
    pub schema: u32,
    /// "kmsg" where it was the kernel's log; absent for the ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Records lost.
    pub count: u64,
    /// When the loss was first noticed, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first: Timestamp,
    /// When it was last noticed, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
