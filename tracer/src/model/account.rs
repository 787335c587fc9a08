//! The parts of one report, stitched together from its events.

use std::collections::BTreeMap;

use super::{
    events::{
        Candidate, Candidates, CgroupPath, Context, End, Invocation, Level, Levels, Mark, Memcg,
        Reclaimed, Repeats, Stat, Task, Victim, Wait,
    },
    lru::ByteSize,
    reap_and_exit::ReapsAndExits,
    recorded_growth::Recorded,
    report::{MAX_LISTED_VICTIMS, Outcome, System},
    shed::Shed,
    task_context::TaskContext,
    victims::Victims,
};

/// An invocation that is still open after this time has lost its end. Long, because the kernel may
/// be printing thousands of tasks to a serial console meanwhile. ns.
const OPEN_CLOSES_AFTER_NS: u64 = 120_000_000_000;
/// The same once it has killed: then the kernel prints no more than a line for each victim. ns.
const KILLING_CLOSES_AFTER_NS: u64 = 10_000_000_000;

/// Marks the keys of accounts without a sequence number: the other bits are their time.
pub(crate) const MOMENT: u64 = 1 << 63;

/// How far an account has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Reported once, with everything that will ever be known.
    #[default]
    Complete,
    /// The kill is reported, but its victims are not gone yet. The same account follows as
    /// [`Stage::Final`].
    Provisional,
    /// The account that was provisional before, now with the exits of its victims and the release
    /// of their memory.
    Final,
}

/// The parts of one report.
#[derive(Clone, Debug, PartialEq)]
pub enum Account {
    /// An invocation of the OOM killer.
    Invocation(Box<InvocationAccount>),
    /// A victim on a host where `oom:mark_victim` is the only hook.
    Mark(Box<MarkAccount>),
    /// A memcg that found room again before the OOM killer made a choice.
    Reclaimed(ReclaimedAccount),
    /// A task that waits because the OOM killer of its memcg is disabled.
    Wait(WaitAccount),
}

/// Why the end of a victim may have passed unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnseenEnd {
    /// Records were lost, because the ring was full.
    RecordLost,
    /// The kernel skipped runs of a probe.
    ProbeSkipped,
}

/// The facts about one invocation. A part whose record was lost, or that this host cannot give, is
/// absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InvocationAccount {
    /// Sequence number of the invocation; 0 if the probes did not see it begin.
    pub seq: u64,
    /// Time of the first record, `CLOCK_BOOTTIME` ns.
    pub first_ns: u64,
    /// The choice, or how the invocation ended without one.
    pub invocation: Option<Invocation>,
    /// The tasks that the kernel evaluated.
    pub candidates: Option<Candidates>,
    /// Paths of cgroups, by kernfs id.
    pub paths: BTreeMap<u64, CgroupPath>,
    /// The limits of the chosen task's (else the oom_memcg's) cgroup.
    pub levels: Option<Levels>,
    /// The marked tasks in order, one per process, each with its time (`CLOCK_BOOTTIME` ns).
    pub victims: Victims,
    /// Number of victim records. A process that was marked by two of its threads counts twice.
    pub marks: u32,
    /// The memcg whose limit was hit, if only compact records show it.
    pub compact_memcg: Option<u64>,
    /// Details that the probes shed.
    pub shed: Shed,
    /// Return of `out_of_memory`; `None` if its record was lost.
    pub end: Option<End>,
    /// Invocations in a row that ended in the same way, this one included.
    pub repeats: Option<Repeats>,
    /// Numbers of later invocations of the same memcg that killed no process, because a victim of
    /// this one was still dying. The key is the sequence number under which they are counted.
    pub waits_for_victim: BTreeMap<u64, u64>,
    /// Statistics of the oom_memcg.
    pub stat: Option<Stat>,
    /// Command lines and other details of the trigger and the victims, by process id.
    pub contexts: BTreeMap<i32, TaskContext>,
    /// The exits of the victims and the release of their memory.
    pub reap_and_exit: ReapsAndExits,
    /// The deadline passed before all victims were gone.
    pub is_overdue: bool,
    /// The deadline passed before records showed that all victims were gone, but their end may have
    /// passed unseen.
    pub unseen_end: Option<UnseenEnd>,
    /// Newer probes replaced those of this account, which may not have seen its victims' end.
    pub is_replaced: bool,
    /// How far the account has come.
    pub stage: Stage,
    /// How often the account was reported before.
    pub n_reported: u32,
    /// The host's memory, and when it was read (`CLOCK_BOOTTIME` ns).
    pub system: Option<(u64, System)>,
    /// Recorded growth of the oom_memcg before the choice.
    pub growth: Option<Box<Recorded>>,
}

/// The facts about a victim from `oom:mark_victim` alone.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkAccount {
    /// The mark itself.
    pub mark: Mark,
    /// The trigger, and the victim as /proc describes it.
    pub invocation: InvocationAccount,
}

/// Calls into the memcg OOM path that found room again, without an invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct ReclaimedAccount {
    /// Time of the first call, `CLOCK_BOOTTIME` ns.
    pub first_ns: u64,
    /// The latest call, with the number of calls so far.
    pub reclaimed: Box<Reclaimed>,
}

/// A task that waits, without an invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitAccount {
    /// When it began to wait, `CLOCK_BOOTTIME` ns.
    pub first_ns: u64,
    /// The record of its beginning.
    pub wait: Box<Wait>,
    /// When it stopped to wait, `CLOCK_BOOTTIME` ns; `None` while it waits.
    pub ended_ns: Option<u64>,
}

impl Account {
    /// The facts about the invocation, if there is one.
    pub fn invocation(&self) -> Option<&InvocationAccount> {
        match self {
            Self::Invocation(account) => Some(account),
            Self::Mark(account) => Some(&account.invocation),
            Self::Reclaimed(_) | Self::Wait(_) => None,
        }
    }

    /// Sequence number of the invocation; 0 without one.
    pub fn seq(&self) -> u64 {
        self.invocation().map_or(0, |account| account.seq)
    }

    /// Time of the first record, `CLOCK_BOOTTIME` ns.
    pub fn first_ns(&self) -> u64 {
        match self {
            Self::Invocation(account) => account.first_ns,
            Self::Mark(account) => account.invocation.first_ns,
            Self::Reclaimed(account) => account.first_ns,
            Self::Wait(account) => account.first_ns,
        }
    }

    /// How far the account has come.
    pub fn stage(&self) -> Stage {
        self.invocation().map_or(Stage::Complete, |account| account.stage)
    }

    /// The revision of its report: 1, and one more for each report before.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Invocation(_) | Self::Mark(_) => {
                self.invocation().map_or(1, |account| account.n_reported.saturating_add(1))
            }
            Self::Reclaimed(_) => 1,
            // It is reported when it begins, and when it ends.
            Self::Wait(account) => 1 + u32::from(account.ended_ns.is_some()),
        }
    }

    /// The key of its report: the sequence number, else the time.
    pub fn key(&self) -> u64 {
        key_of(self.seq(), self.first_ns())
    }

    /// Entry into `out_of_memory`, else the time of the first record. `CLOCK_BOOTTIME` ns.
    pub fn started_ns(&self) -> u64 {
        let invocation = self.invocation().and_then(|account| account.invocation.as_ref());
        invocation.map_or(self.first_ns(), |invocation| invocation.started_ns)
    }

    /// The task that ran out of memory, if its record was not lost.
    pub fn trigger(&self) -> Option<&Task> {
        match self {
            Self::Reclaimed(account) => Some(&account.reclaimed.trigger),
            Self::Wait(account) => Some(&account.wait.trigger),
            Self::Invocation(_) | Self::Mark(_) => {
                Some(&self.invocation()?.invocation.as_ref()?.trigger)
            }
        }
    }

    /// Id of the memcg whose limit was hit; 0 for a global OOM, as in the kernel-side map, and
    /// without an invocation.
    pub fn oom_memcg_id(&self) -> u64 {
        self.invocation().map_or(0, InvocationAccount::oom_memcg_id)
    }

    /// Ids of every cgroup that the report names.
    pub fn cgroup_ids(&self) -> Vec<u64> {
        match self {
            Self::Invocation(account) => account.cgroup_ids(),
            Self::Mark(account) => account.invocation.cgroup_ids(),
            Self::Reclaimed(account) => {
                ids(&account.reclaimed.trigger, Some(&account.reclaimed.oom_memcg)).collect()
            }
            Self::Wait(account) => {
                ids(&account.wait.trigger, Some(&account.wait.oom_memcg)).collect()
            }
        }
    }
}

impl From<InvocationAccount> for Account {
    fn from(account: InvocationAccount) -> Self {
        Self::Invocation(Box::new(account))
    }
}

fn ids<'a>(trigger: &'a Task, oom_memcg: Option<&'a Memcg>) -> impl Iterator<Item = u64> + 'a {
    trigger.cgroup_id.into_iter().chain(oom_memcg.and_then(|memcg| memcg.id))
}

impl InvocationAccount {
    pub(crate) fn new(seq: u64, first_ns: u64) -> Self {
        Self { seq, first_ns, ..Self::default() }
    }

    fn cgroup_ids(&self) -> Vec<u64> {
        let victims = self.victims.iter().filter_map(|(_, victim)| victim.task.cgroup_id);
        let invocation = self.invocation.iter();
        victims
            .chain(self.compact_memcg)
            .chain(self.levels.as_ref().map(|levels| levels.cgroup_id))
            .chain(invocation.flat_map(|it| ids(&it.trigger, it.oom_memcg.as_ref())))
            .collect()
    }

    /// Id of the memcg whose limit was hit; 0 for a global OOM, as in the kernel-side map.
    pub(crate) fn oom_memcg_id(&self) -> u64 {
        let memcg = self.invocation.as_ref().and_then(|invocation| invocation.oom_memcg.as_ref());
        memcg.and_then(|memcg| memcg.id).or(self.compact_memcg).unwrap_or_default()
    }

    /// Whether the end was seen and no task was marked. More invocations of the same kind may
    /// follow.
    pub(crate) fn is_quiet(&self) -> bool {
        let quiet_end =
            self.end.as_ref().is_some_and(|end| end.kill_calls == 0 && end.victims == 0);
        quiet_end && self.victims.is_empty()
    }

    /// Adds a detail of the trigger or of a victim. Only so many processes are described as a
    /// report may list.
    pub(crate) fn add_context(&mut self, context: Context) {
        if self.contexts.len() <= MAX_LISTED_VICTIMS || self.contexts.contains_key(&context.tgid) {
            self.contexts.entry(context.tgid).or_default().note(context);
        }
    }

    /// Adds to the invocations that are counted under `seq`.
    pub(crate) fn add_waits(&mut self, seq: u64, count: u64) {
        let known = self.waits_for_victim.entry(seq).or_default();
        *known = (*known).max(count);
    }

    /// Whether no process was killed because a victim of an earlier invocation is still dying, as
    /// far as the facts of newer probes show.
    pub(crate) fn waits_for_earlier_victim(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.facts.is_some())
            && self.is_quiet()
            && matches!(silent_outcome(self), Some(Outcome::VictimPending | Outcome::WillFreeMem))
    }

    /// Whether the exit of a process was seen.
    pub(crate) fn has_exited(&self, pid: i32) -> bool {
        self.reap_and_exit.get(&pid).is_some_and(|end| end.exited_ns.is_some())
    }

    /// Whether a memcg's limit was hit, or the host ran out. `None` if that is unknown.
    pub(crate) fn is_memcg(&self) -> Option<bool> {
        let known = self.invocation.as_ref().and_then(|invocation| invocation.is_memcg);
        known.or(self.compact_memcg.map(|_| true))
    }

    /// Whether the record of the end is overdue and must have been lost.
    pub(crate) fn has_lost_its_end(&self, now_ns: u64) -> bool {
        let after_kill =
            self.victims.last().map(|(marked_ns, _)| (*marked_ns, KILLING_CLOSES_AFTER_NS));
        let (since_ns, patience_ns) = after_kill.unwrap_or((self.first_ns, OPEN_CLOSES_AFTER_NS));
        now_ns.saturating_sub(since_ns) >= patience_ns
    }
}

impl ByteSize for InvocationAccount {
    /// An estimate: it counts the parts that can be large. The others are small.
    fn byte_size(&self) -> usize {
        /// A victim, its name and its places in the indexes.
        const VICTIM_BYTES: usize = size_of::<Victim>() + 256;
        /// The trigger's stacks, the statistics, and the host's memory.
        const FIXED_BYTES: usize = size_of::<InvocationAccount>() + 4096;
        let candidates = self.candidates.iter().map(|it| it.list.len() * size_of::<Candidate>());
        let levels = self.levels.iter().map(|it| it.list.len() * size_of::<Level>());
        let paths = self.paths.values().map(|path| path.names.byte_size());
        let growth = self.growth.iter().map(|recorded| recorded.byte_size());
        let contexts = self.contexts.values().map(ByteSize::byte_size);
        let long = candidates.chain(levels).chain(paths).chain(growth).chain(contexts);
        FIXED_BYTES + self.victims.len() * VICTIM_BYTES + long.sum::<usize>()
    }
}

impl ByteSize for WaitAccount {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + size_of::<Wait>() + self.wait.trigger.comm.byte_size()
    }
}

/// The outcome of an invocation that killed and marked no process, from the facts of its end.
/// `None` if the probes are older, or if the facts do not decide it.
///
/// <https://github.com/torvalds/linux/blob/v6.12/mm/oom_kill.c>, `out_of_memory`
pub(crate) fn silent_outcome(account: &InvocationAccount) -> Option<Outcome> {
    let facts = account.end.as_ref()?.facts?;
    let is = |fact: Option<bool>| fact == Some(true);
    let invocation = account.invocation.as_ref();
    if is(facts.suspended) {
        return Some(Outcome::Suspended);
    }
    if is(facts.printed) {
        return Some(Outcome::NoVictim);
    }
    let is_memcg = facts.is_memcg?;
    // The kernel lets a dying task pass before anything else, and marks it once.
    if is(facts.trigger_is_victim) && is(facts.trigger_is_dying) && !is(facts.evaluated) {
        return Some(Outcome::WillFreeMem);
    }
    if is_memcg {
        // A selection without a victim is printed.
        return facts.printed.map(|_| Outcome::VictimPending);
    }
    // Without the record of the invocation it may be one of sysrq-f.
    let order = invocation?.control.as_ref().map(|control| control.order);
    match (order, is(facts.evaluated), facts.has_notifiers) {
        // Sysrq-f does not wait for victims.
        (Some(-1), _, _) => Some(Outcome::NoVictim),
        (_, true, _) => Some(Outcome::VictimPending),
        _ if is(facts.without_fs) => Some(Outcome::NotAllowed),
        // The first process that the kernel looked at was an earlier victim.
        (_, false, Some(false)) => Some(Outcome::VictimPending),
        (_, false, Some(true)) if facts.evaluated.is_some() => Some(Outcome::Reclaimed),
        _ => None,
    }
}

/// Key of a report with this sequence number or, without one, that began at this time.
pub(crate) fn key_of(seq: u64, first_ns: u64) -> u64 {
    if seq == 0 { first_ns | MOMENT } else { seq }
}
