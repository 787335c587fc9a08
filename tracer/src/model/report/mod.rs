//! The public model: the output of `-o json`, on which other tools rely (docs/record.md).
//!
//! Schema 1: keys may be added, but never renamed or changed in meaning. An unknown value is an
//! absent key, never null and never 0. Units are bytes, RFC 3339 times, and pages (only for
//! candidates). Nothing here converts, looks up or prints. The doc comments are the descriptions
//! that `oomwhy schema` prints.

mod bytes;
mod container;
mod from_json;
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

use from_json::MAX_ITEMS;

pub(crate) use bytes::{hex, lossy, original};
pub(crate) use container::{CgroupOwner, Container, NestedContainer};
pub(crate) use from_json::{MAX_RECORD_BYTES, check_size, first};
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

/// Victims that a report lists.
pub(crate) const MAX_LISTED_VICTIMS: usize = 256;

/// The version of the contract: `schema` in every record.
pub(crate) const SCHEMA: u32 = 1;

/// One record: a JSON object on a line of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// One invocation of the OOM killer.
    Oom(Box<OomReport>),
    /// The kernel counted kills that oomwhy did not see.
    Gap(GapReport),
    /// Kernel-side records were lost because the ring buffer was full.
    Loss(LossReport),
}

/// One invocation of the OOM killer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OomReport {
    /// The version of this contract: 1.
    pub schema: u32,
    /// The id of the report. Ids sort by time, and the same events give the same id.
    pub id: String,
    /// 1, 2, ...: a report that is reported again has the same id and a higher revision. The
    /// highest one counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// The number of this record in its history; a number that is missing there is a lost record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When the kernel entered out_of_memory, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// The same time on CLOCK_BOOTTIME, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boottime_ns: Option<u64>,
    /// The id of this boot: /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The kernel release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// How the invocation ended.
    pub outcome: Outcome,
    /// Why the kernel chose this victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The number of invocations that this report stands for; absent for a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// When the last of the repeated invocations ended, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub repeats_until: Option<Timestamp>,
    /// The number of later invocations in the same domain that killed no process, because a victim
    /// of this one was still dying. Absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations_while_dying: Option<u64>,
    /// The domain that ran out of memory: host, memory cgroup, cpuset or memory policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// The kernel's message, e.g. "Memory cgroup out of memory".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The nodes that the allocation was bound to, e.g. "0-1"; absent if it was not bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodemask: Option<String>,
    /// The nodes that the triggering task may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems_allowed: Option<String>,
    /// Outcome `disabled` only: how long the triggering task waited, ns; absent while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ns: Option<u64>,
    /// The size of the domain, pages: limit plus usable swap, or RAM plus swap. It is not a usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totalpages: Option<u64>,
    /// The page size, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// The task whose allocation invoked the OOM killer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The memory cgroup whose limit was hit; absent if the host ran out of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_memcg: Option<OomMemcg>,
    /// The limits from the memory cgroup of the chosen task up to the root. If no task was chosen,
    /// the chain starts at oom_memcg.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "from_json::first_if_any::<{ MAX_ITEMS }, _, _>"
    )]
    pub limit_chain: Option<Vec<LimitLevel>>,
    /// True if the chain has more levels than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub limit_chain_truncated: bool,
    /// The memory of the host; absent if the limit of a memory cgroup was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// The tasks that the kernel evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Candidates>,
    /// The processes that the kernel killed, 256 of them at most; empty if there were none.
    #[serde(deserialize_with = "from_json::first::<{ MAX_ITEMS }, _, _>")]
    pub victims: Vec<Victim>,
    /// The number of processes that the kernel killed, counted in the kernel. It is higher than the
    /// length of `victims` if records were lost, or if that list was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub victims_total: Option<u64>,
    /// The lists that were cut on purpose: a report has at most 512 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<Truncated>,
    /// The growth of the memory before the invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// The conclusions from the facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The kind of kill. Kills of the same executable, under the same limit and for the same cause
    /// have the same fingerprint. The part after the dash stands for the allocation site, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How the report was obtained, and which fields are missing from it.
    pub source: Source,
}

impl OomReport {
    /// The number of killed processes, whether their records were lost or not.
    pub(crate) fn n_victims(&self) -> usize {
        let total = self.victims_total.and_then(|total| usize::try_from(total).ok());
        total.unwrap_or_default().max(self.victims.len())
    }

    /// Whether victims with a record are not listed, because a report has a limited size.
    pub(crate) fn has_unlisted_victims(&self) -> bool {
        let is_lost = self.source.missing.iter().any(|missing| missing.field == "victims");
        let is_full = self.victims.len() >= MAX_LISTED_VICTIMS;
        let cut = self.truncated.iter().find(|truncated| truncated.field == "victims");
        let listed = u64::try_from(self.victims.len()).unwrap_or(u64::MAX);
        cut.is_some_and(|cut| cut.total > listed) && (is_full || !is_lost)
    }

    /// A report with only the outcome.
    pub fn new(id: String, outcome: Outcome, source: Source) -> Self {
        Self {
            schema: SCHEMA,
            id,
            revision: Some(1),
            seq: None,
            time: None,
            boottime_ns: None,
            boot_id: None,
            host: None,
            kernel: None,
            outcome,
            reason: None,
            repeats: None,
            repeats_until: None,
            invocations_while_dying: None,
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
            victims_total: None,
            truncated: Vec::new(),
            growth: None,
            verdict: None,
            fingerprint: None,
            source,
        }
    }
}

/// A list that was cut on purpose, because a report has a limited size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Truncated {
    /// The path of the key, e.g. "victims".
    pub field: String,
    /// The entries that have all their keys.
    pub kept: u64,
    /// All entries, whether the report has them or not.
    pub total: u64,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one process was killed.
    Killed,
    /// A task was chosen, but it was already exiting, so no process was killed.
    AlreadyExiting,
    /// The triggering task was already dying, so it was marked without a selection.
    WillFreeMem,
    /// An earlier victim is still dying, so the OOM killer waits for it.
    VictimPending,
    /// No task could be killed.
    NoVictim,
    /// The memory cgroup was below its limit again, so no process was killed. For the host: a
    /// driver returned memory when it was asked to (an OOM notifier).
    Reclaimed,
    /// The host was out of memory, but this allocation may not kill (it is without `__GFP_FS`): it
    /// tries again.
    NotAllowed,
    /// The OOM killer is disabled while the machine suspends, so the allocation failed.
    Suspended,
    /// cgroup v1 with memory.oom_control = 1: the task waits, and no process is killed.
    Disabled,
    /// The outcome was not observed (`source.missing` has the reason).
    Unknown,
}

/// Why the kernel chose this victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was the candidate with the most points.
    Selection,
    /// vm.oom_kill_allocating_task is set, so the triggering task was chosen.
    AllocatingTask,
    /// The kill was requested with sysrq-f.
    Sysrq,
}

/// The domain that ran out of memory (`enum oom_constraint`).
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

/// Which record this is. Each key is absent in records of older versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordId {
    /// The id of the record. Ids sort by time, and the same events give the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Always 1: such a record is reported once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// The number of this record in its history; a number that is missing there is a lost record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl RecordId {
    /// The first and only revision of a record that no history has numbered.
    pub(crate) fn new(id: String) -> Self {
        Self { id: Some(id), revision: Some(1), seq: None }
    }
}

/// The kernel counted kills that oomwhy did not see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapReport {
    /// The version of this contract: 1.
    pub schema: u32,
    #[serde(flatten)]
    pub number: RecordId,
    /// When the gap was detected, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The id of this boot: /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The memory cgroup whose counter shows the gap; absent for the counter of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Kills that the kernel counted. It counts the first victim of a memory.oom.group twice.
    pub expected: u64,
    /// Kills among them that oomwhy saw, reported or filtered out.
    pub seen: u64,
    /// Kernel-side records lost in the same time. With 0, the missing kills bypassed the probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
    /// When the counting started, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// Kernel-side records were lost because the ring buffer was full or because the kernel skipped a
/// probe, or records of the kernel log because they were overwritten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossReport {
    /// The version of this contract: 1.
    pub schema: u32,
    #[serde(flatten)]
    pub number: RecordId,
    /// "kmsg" for the kernel log; absent for the ring buffer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The id of this boot: /proc/sys/kernel/random/boot_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Where the records were lost; absent for the kernel log and for probes of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<LossStage>,
    /// The BPF program, if the stage is "probe"; the output, if it is "queue" or "store".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why the records were lost. If the stage is "kills", and the probes counted it: why the
    /// kernel killed the processes whose records were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<LossReason>,
    /// The number of lost records; of skipped runs if the stage is "probe", and of look-ups if it
    /// is "helper" or "names".
    pub count: u64,
    /// When the loss was first detected, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first: Timestamp,
    /// When the loss was last detected, RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last: Timestamp,
}

/// Where records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossStage {
    /// The ring of details had no room. Reports of that time are without these details.
    Ring,
    /// The ring of kills had no room. A process without its record is in no report, unless its
    /// details arrived.
    Kills,
    /// The probes dropped records of new cgroups and of growing processes: their ring was full, or
    /// they exceeded their rate. Reports can be without names of containers.
    Hints,
    /// The kernel skipped runs of a BPF program, so their records were never written.
    Probe,
    /// Records of the probes had a form that this oomwhy does not know.
    Decode,
    /// Look-ups that need a helper process were refused. Reports are without these names.
    Helper,
    /// Other look-ups were refused, or their results came too late for their report.
    Names,
    /// An output (`name`) did not take records: its reader or its disk was too slow, or failed.
    Queue,
    /// The history did not take records: its disk was too slow, or failed.
    Store,
}

/// Why records were lost: of kills, why the kernel killed the processes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Each was the first process to be marked in its invocation.
    Marked,
    /// Each was marked after another one, with the rest of its cgroup (memory.oom.group).
    GroupMember,
    /// None was marked. Each shared the memory of the victim before it.
    SharesMm,
    /// The queue was full: the reader or the disk was too slow, or blocked.
    QueueFull,
    /// Each write was tried and failed.
    WriteFailed,
    /// Earlier helper processes hang.
    HelpersHang,
    /// The tenant had used up its share of the look-ups, or too many were waiting.
    ShareUsedUp,
    /// The report had waited long enough.
    Late,
}

impl LossStage {
    /// All stages, as docs/reliability.md lists them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Ring,
        Self::Kills,
        Self::Hints,
        Self::Probe,
        Self::Decode,
        Self::Helper,
        Self::Names,
        Self::Queue,
        Self::Store,
    ];
}

impl LossReason {
    /// All reasons, as docs/reliability.md lists them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Marked,
        Self::GroupMember,
        Self::SharesMm,
        Self::QueueFull,
        Self::WriteFailed,
        Self::HelpersHang,
        Self::ShareUsedUp,
        Self::Late,
    ];
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
