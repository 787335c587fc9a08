//! Runs of alike invocations without a victim, and of reclaims, each reported as one.

use std::collections::BTreeMap;

use oomwhy_common::maps::RUN_ENDS_AFTER_NS;

use crate::model::{
    account::{InvocationAccount, ReclaimedAccount},
    events::{Reclaimed, Repeats},
    lru::{ByteSize, Lru},
};

/// A run is reported after this much silence, ns.
pub(crate) const RUN_SETTLES_AFTER_NS: u64 = 1_000_000_000;
/// A run that does not settle is reported after this time, and again at most this often, ns.
const RUN_REPORTED_EVERY_NS: u64 = 10_000_000_000;

/// Runs that may go on. With more, the oldest is over.
const MAX_RUNS: usize = 1024;
/// Memory cgroups whose reclaims and kills are remembered for a while.
const MAX_MEMCGS: usize = 4096;

/// A count that the probes keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The sequence number under which they count.
    pub seq: u64,
    /// Id of the oom_memcg, 0 for the host.
    pub oom_memcg: u64,
    /// The latest known count.
    pub count: u64,
}

/// A run of invocations without a victim.
#[derive(Clone, Debug)]
struct Run {
    account: InvocationAccount,
    /// Time of its latest invocation, `CLOCK_BOOTTIME` ns.
    last_ns: u64,
    /// When it was reported last, and with how many repeats. The run is kept until it is over, to
    /// be reported again with more.
    reported: Option<(u64, u64)>,
}

impl Run {
    fn count(&self) -> u64 {
        self.account.repeats.as_ref().map_or(1, |repeats| repeats.count)
    }

    fn is_due(&self, now_ns: u64) -> bool {
        match self.reported {
            Some((at_ns, _)) => has_passed(RUN_REPORTED_EVERY_NS, at_ns, now_ns),
            None => is_first_due(self.account.first_ns, self.last_ns, now_ns),
        }
    }

    fn has_news(&self) -> bool {
        self.reported.is_none_or(|(_, count)| count != self.count())
    }
}

fn has_passed(ns: u64, since_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(since_ns) >= ns
}

/// Whether a run with these first and last times must be reported for the first time.
fn is_first_due(first_ns: u64, last_ns: u64, now_ns: u64) -> bool {
    has_passed(RUN_SETTLES_AFTER_NS, last_ns, now_ns)
        || has_passed(RUN_REPORTED_EVERY_NS, first_ns, now_ns)
}

/// Runs of invocations, by the sequence number of the first.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<u64, Run>);

impl Runs {
    /// Begins a run. Returns the account of another that had to make room and has news.
    pub(super) fn begin(
        &mut self,
        now: u64,
        account: InvocationAccount,
    ) -> Option<InvocationAccount> {
        self.0.insert(account.seq, Run { account, last_ns: now, reported: None });
        let is_full = self.0.len() > MAX_RUNS;
        let oldest = if is_full { self.0.pop_first() } else { None };
        oldest.map(|(_, run)| run).filter(Run::has_news).map(|run| run.account)
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        self.0.contains_key(&seq)
    }

    /// If the first record of a run was lost, its counts are dropped: the loss is already counted.
    pub(super) fn repeat(&mut self, seq: u64, now: u64, repeats: Repeats) {
        if let Some(run) = self.0.get_mut(&seq)
            && repeats.count > run.count()
        {
            run.last_ns = now.max(repeats.last_ns);
            run.account.repeats = Some(repeats);
        }
    }

    /// Removes the run that this invocation began.
    pub(super) fn remove(&mut self, seq: u64) -> Option<InvocationAccount> {
        self.0.remove(&seq).map(|run| run.account)
    }

    /// Runs to report now. Forgets those that are over.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<InvocationAccount> {
        let mut due = Vec::new();
        self.0.retain(|_, run| {
            let is_over = has_passed(RUN_ENDS_AFTER_NS, run.last_ns, now_ns);
            if run.has_news() && (is_over || run.is_due(now_ns)) {
                run.reported = Some((now_ns, run.count()));
                due.push(run.account.clone());
                run.account.n_reported = run.account.n_reported.saturating_add(1);
            }
            !is_over
        });
        due
    }

    pub(super) fn flush(&mut self) -> impl Iterator<Item = InvocationAccount> + use<> {
        std::mem::take(&mut self.0).into_values().filter(Run::has_news).map(|run| run.account)
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = Counted> {
        let counted = |run: &Run| Counted {
            seq: run.account.seq,
            oom_memcg: run.account.oom_memcg_id(),
            count: run.count(),
        };
        self.0.values().map(counted)
    }

    pub(super) fn unreported(&self) -> impl Iterator<Item = &InvocationAccount> {
        self.0.values().filter(|run| run.reported.is_none()).map(|run| &run.account)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Calls that found room again in one memcg.
#[derive(Clone, Debug)]
struct ReclaimRun {
    account: ReclaimedAccount,
    /// Time of the latest call, `CLOCK_BOOTTIME` ns.
    last_ns: u64,
}

/// Calls that found room again. They are reported only if the same memcg has no kill within
/// [`RUN_SETTLES_AFTER_NS`]: otherwise they belong to that kill.
#[derive(Debug)]
pub(super) struct Reclaims {
    /// The runs by the id of the oom_memcg.
    runs: Lru<u64, ReclaimRun>,
    /// Times of recent kills, by the id of the oom_memcg. `CLOCK_BOOTTIME` ns.
    kills: Lru<u64, u64>,
}

impl Default for Reclaims {
    fn default() -> Self {
        Self { runs: Lru::new(MAX_MEMCGS, 4 << 20), kills: Lru::new(MAX_MEMCGS, 1 << 20) }
    }
}

impl ByteSize for ReclaimRun {
    fn byte_size(&self) -> usize {
        let Reclaimed { trigger, .. } = &*self.account.reclaimed;
        size_of::<Self>() + size_of::<Reclaimed>() + trigger.comm.0.len()
    }
}

impl Reclaims {
    pub(super) fn push(&mut self, now: u64, reclaimed: Box<Reclaimed>) {
        let memcg = reclaimed.oom_memcg.id.unwrap_or_default();
        if self.kills.get(&memcg).is_some_and(|killed| is_recent(*killed, now)) {
            return;
        }
        let first_ns = self.runs.get(&memcg).map_or(now, |run| run.account.first_ns);
        let account = ReclaimedAccount { first_ns, reclaimed };
        self.runs.insert(memcg, ReclaimRun { account, last_ns: now });
    }

    /// Notes a kill in a memcg.
    pub(super) fn killed(&mut self, now: u64, oom_memcg: u64) {
        self.kills.insert(oom_memcg, now);
        self.runs.remove(&oom_memcg);
    }

    pub(super) fn due(&mut self, now_ns: u64) -> impl Iterator<Item = ReclaimedAccount> {
        self.kills.retain(|_, killed| is_recent(*killed, now_ns));
        let is_due = |run: &ReclaimRun| is_first_due(run.account.first_ns, run.last_ns, now_ns);
        let due = self.runs.iter().filter(|(_, run)| is_due(run)).map(|(memcg, _)| *memcg);
        let due: Vec<u64> = due.collect();
        due.into_iter().filter_map(|memcg| self.runs.remove(&memcg)).map(|run| run.account)
    }

    pub(super) fn flush(&mut self) -> impl Iterator<Item = ReclaimedAccount> + use<> {
        self.runs.take_values().map(|run| run.account)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &ReclaimedAccount> {
        self.runs.iter().map(|(_, run)| &run.account)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

fn is_recent(killed_ns: u64, now_ns: u64) -> bool {
    !has_passed(RUN_SETTLES_AFTER_NS, killed_ns, now_ns)
}
