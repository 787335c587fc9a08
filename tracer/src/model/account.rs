//! What is known of one invocation, stitched together from its events.

use std::collections::BTreeMap;

use super::{
    events::{
        Candidates, CgroupPath, End, Invocation, Levels, Mark, Reclaimed, Repeats, Stat, Victim,
        Wait,
    },
    reap_and_exit::ReapsAndExits,
    recorded_growth::Recorded,
    report::System,
    task_context::TaskContext,
};

/// An invocation that is still open after this time has lost its end. Long, because the kernel may
/// be printing thousands of tasks to a serial console meanwhile. ns.
const OPEN_CLOSES_AFTER_NS: u64 = 120_000_000_000;
/// The same once it has killed: then the kernel prints no more than a line for each victim. ns.
const KILLING_CLOSES_AFTER_NS: u64 = 10_000_000_000;

/// Marks keys of what is no invocation: the other bits are its time.
pub(crate) const MOMENT: u64 = 1 << 63;

/// How far an account has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Told once, as it is.
    #[default]
    Complete,
    /// The kill is told; what becomes of the victims is not known yet. The same account comes again.
    Provisional,
    /// The same account, with what became of the victims.
    Final,
}

/// What is known of one invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Its number.
    pub seq: u64,
    /// The choice, or how it ended without one.
    pub invocation: Option<Invocation>,
    /// Who was weighed.
    pub candidates: Option<Candidates>,
    /// Where the cgroups are, by id.
    pub paths: BTreeMap<u64, CgroupPath>,
    /// The limits of the chosen task's (else the oom_memcg's) cgroup.
    pub levels: Option<Levels>,
    /// Who was marked, one per process, in order, each with the time.
    pub victims: Vec<(u64, Victim)>,
    /// Records of victims, also of one that two threads of a process were marked by.
    pub marks: u32,
    /// How it ended; `None` when that record was lost.
    pub end: Option<End>,
    /// More invocations that ended in the same way, this one included.
    pub repeats: Option<Repeats>,
    /// A call that found room again, without an invocation.
    pub reclaimed: Option<Reclaimed>,
    /// What the oom_memcg's memory was.
    pub stat: Option<Stat>,
    /// A mark that is all there is: nothing else is hooked.
    pub mark: Option<Mark>,
    /// A task that waits, without an invocation.
    pub wait: Option<Wait>,
    /// When it stopped to wait, `CLOCK_BOOTTIME` ns.
    pub wait_ended_ns: Option<u64>,
    /// Who trigger and victims are, by process id.
    pub contexts: BTreeMap<i32, TaskContext>,
    /// What became of the victims.
    pub reap_and_exit: ReapsAndExits,
    /// The deadline passed, and some of them were not gone.
    pub is_overdue: bool,
    /// How far it has come.
    pub stage: Stage,
    /// The host's memory, and when it was read, `CLOCK_BOOTTIME` ns.
    pub system: Option<(u64, System)>,
    /// What grew in the memcg before.
    pub growth: Option<Box<Recorded>>,
    /// Time of the first record, `CLOCK_BOOTTIME` ns.
    pub first_ns: u64,
}

impl Account {
    pub(crate) fn new(seq: u64, first_ns: u64) -> Self {
        Self { seq, first_ns, ..Self::default() }
    }

    /// Every cgroup that it names.
    pub fn cgroup_ids(&self) -> Vec<u64> {
        let victims = self.victims.iter().filter_map(|(_, victim)| victim.task.cgroup_id);
        let mut ids: Vec<u64> = victims.collect();
        ids.extend(self.levels.as_ref().map(|levels| levels.cgroup_id));
        if let Some(invocation) = &self.invocation {
            ids.extend(invocation.trigger.cgroup_id);
            ids.extend(invocation.oom_memcg.as_ref().and_then(|memcg| memcg.id));
        }
        if let Some(reclaimed) = &self.reclaimed {
            ids.extend(reclaimed.trigger.cgroup_id);
            ids.extend(reclaimed.oom_memcg.id);
        }
        if let Some(wait) = &self.wait {
            ids.extend(wait.trigger.cgroup_id);
            ids.extend(wait.oom_memcg.id);
        }
        ids
    }

    /// Nobody was marked, and the end says so: more of the same may follow.
    pub(crate) fn is_quiet(&self) -> bool {
        let quiet_end =
            self.end.as_ref().is_some_and(|end| end.kill_calls == 0 && end.victims == 0);
        quiet_end && self.victims.is_empty()
    }

    /// Whether an open one is not going to end.
    pub(crate) fn has_lost_its_end(&self, now_ns: u64) -> bool {
        let after_kill =
            self.victims.last().map(|(marked_ns, _)| (*marked_ns, KILLING_CLOSES_AFTER_NS));
        let (since_ns, patience) = after_kill.unwrap_or((self.first_ns, OPEN_CLOSES_AFTER_NS));
        now_ns.saturating_sub(since_ns) >= patience
    }

    /// What it is told by: its number, else its time.
    pub fn key(&self) -> u64 {
        key_of(self.seq, self.first_ns)
    }

    /// Entry into `out_of_memory`, else the first sign of it, `CLOCK_BOOTTIME` ns.
    pub fn started_ns(&self) -> u64 {
        self.invocation.as_ref().map_or(self.first_ns, |invocation| invocation.started_ns)
    }

    /// Id of the memcg whose limit was hit; 0 for a global OOM, as in the kernel-side map.
    pub fn oom_memcg_id(&self) -> u64 {
        let memcg = self.invocation.as_ref().and_then(|invocation| invocation.oom_memcg.as_ref());
        memcg.and_then(|memcg| memcg.id).unwrap_or_default()
    }
}

/// Key of what has this number, or, without one, began at this time.
pub(crate) fn key_of(seq: u64, first_ns: u64) -> u64 {
    if seq == 0 { first_ns | MOMENT } else { seq }
}
