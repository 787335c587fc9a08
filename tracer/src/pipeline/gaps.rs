//! Compares the kills that the records show with the kernel's count, `oom_kill` in /proc/vmstat.
//! Pure.
//!
//! The kernel counts in `__oom_kill_process`, once for every call that finds memory to free. It
//! counts the first victim of a memory.oom.group twice, and does not count processes that die only
//! because they share a victim's memory. So this compares calls, not victims. A call that found
//! nothing to free is counted here but not in the kernel. That hides one missed kill, but only
//! until the next comparison, which starts from zero.
//!
//! A kill in flight is no gap: the kernel counts it before it marks the victim, and the records
//! come later. So nothing is concluded while an invocation kills, and a difference is reported only
//! if no kill has arrived for a while that explains it.

mod groups;

pub(crate) use self::groups::GroupGaps;
use crate::{
    model::account::{Account, InvocationAccount},
    pipeline::assemble::InFlight,
};

/// The records of a kill that the kernel has counted arrive within this time, ns.
pub(crate) const SETTLES_AFTER_NS: u64 = 1_000_000_000;

/// The kernel's count at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Kills since the boot, or since the group was made.
    pub kills: u64,
    /// When it was read, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
}

/// Kills that no record showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Kills that the kernel counted.
    pub expected: u64,
    /// Kills that the records account for, at most.
    pub seen: u64,
    /// Records that were lost in the same time.
    pub drops: u64,
    /// Start of that time, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// When the difference was noticed, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
}

/// A difference that a kill in flight may still explain.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    reading: Reading,
    /// Kills that the records accounted for at that time.
    seen: u64,
}

/// Compares the two counts of the host, or of one group.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// The latest reading that left nothing to explain; the counts below start there. `None` before
    /// the first reading.
    base: Option<Reading>,
    /// Kills that the records account for, at most.
    seen: u64,
    /// Records that were lost.
    drops: u64,
    suspicion: Option<Suspicion>,
    /// Thread id of the trigger, and time, of the latest mark without an invocation.
    latest_mark: Option<(i32, u64)>,
    /// Something has happened since the latest comparison.
    is_unchecked: bool,
}

impl Gaps {
    /// Counts the kills of an account.
    pub(crate) fn add_account(&mut self, account: &Account) {
        let second = self.is_second_of_group(account);
        self.add(kills(account) + u64::from(second));
    }

    /// Counts kills that the records show.
    pub(crate) fn add(&mut self, kills: u64) {
        self.seen += kills;
        self.is_unchecked = true;
    }

    /// Whether a mark may be the second one of a group, whose first one the kernel counted twice.
    fn is_second_of_group(&mut self, account: &Account) -> bool {
        let (Account::Mark(_), Some(trigger)) = (account, account.trigger()) else {
            return false;
        };
        let (tid, now) = (trigger.tid, account.first_ns());
        let before = self.latest_mark.replace((tid, now));
        before
            .is_some_and(|(before, ns)| before == tid && now.saturating_sub(ns) < SETTLES_AFTER_NS)
    }

    /// Notes records that were lost. They are the likely reason for a gap.
    pub(crate) fn lost(&mut self, records: u64) {
        self.drops += records;
        self.is_unchecked = true;
    }

    /// Whether the counter must be read again soon.
    pub(crate) fn is_waiting(&self) -> bool {
        self.base.is_some() && self.is_unchecked
    }

    /// Compares the counts. The ring must have been empty before the counter was read.
    pub(crate) fn check(&mut self, reading: Reading, in_flight: InFlight) -> Option<Gap> {
        let Some(base) = self.base else {
            self.start_from(reading);
            return None;
        };
        if reading.kills.saturating_sub(base.kills) <= self.seen {
            if in_flight == InFlight::Nothing {
                self.start_from(reading);
            } else {
                self.is_unchecked = true;
            }
            return None;
        }
        let known = self.suspicion.filter(|suspicion| suspicion.seen == self.seen);
        let suspicion = known.unwrap_or(Suspicion { reading, seen: self.seen });
        self.suspicion = Some(suspicion);
        self.is_unchecked = true;
        if in_flight == InFlight::Kills || !has_settled(suspicion.reading, reading) {
            return None;
        }
        Some(self.gap(base, suspicion.reading, reading))
    }

    /// Compares for the last time, when no invocation is open. Returns a difference that was seen
    /// before and that no kill has explained since.
    pub(crate) fn last_check(&mut self, reading: Reading) -> Option<Gap> {
        let (base, first) = (self.base?, self.suspicion?.reading);
        let unexplained = first.kills.saturating_sub(base.kills) > self.seen;
        (unexplained && has_settled(first, reading)).then(|| self.gap(base, first, reading))
    }

    /// The gap at the first reading that showed it. Kills that were counted since then may still be
    /// in flight, so they are left for the next time.
    fn gap(&mut self, base: Reading, first: Reading, now: Reading) -> Gap {
        let gap = Gap {
            expected: first.kills - base.kills,
            seen: self.seen,
            drops: self.drops,
            since_ns: base.at_ns,
            at_ns: now.at_ns,
        };
        if now.kills == first.kills {
            self.start_from(now);
        } else {
            self.start_from(first);
            self.suspicion = Some(Suspicion { reading: now, seen: 0 });
            self.is_unchecked = true;
        }
        gap
    }

    fn start_from(&mut self, reading: Reading) {
        let latest_mark = self.latest_mark;
        *self = Self { base: Some(reading), latest_mark, ..Self::default() };
    }
}

/// Whether the records of all kills that were counted at `first` must have arrived by `now`.
fn has_settled(first: Reading, now: Reading) -> bool {
    now.at_ns.saturating_sub(first.at_ns) >= SETTLES_AFTER_NS
}

/// Kills of one account as the kernel counts them, at most.
pub(crate) fn kills(account: &Account) -> u64 {
    match account {
        Account::Invocation(account) => kills_of_invocation(account),
        Account::Mark(account) => at_most(account.invocation.marks.into()).max(1),
        Account::Reclaimed(_) | Account::Wait(_) => 0,
    }
}

fn kills_of_invocation(account: &InvocationAccount) -> u64 {
    match &account.end {
        Some(end) if end.kill_calls == 0 => 0,
        Some(end) => match end.oom_kill_calls {
            Some(calls) => calls.into(),
            // `__oom_kill_process` is not hooked.
            None => at_most(end.victims.into()).max(end.kill_calls.into()),
        },
        // The record of the end was lost.
        None => at_most(account.marks.into()),
    }
}

/// The largest number of `__oom_kill_process` calls for `marked` victims: the first victim of a
/// group takes two.
fn at_most(marked: u64) -> u64 {
    marked + u64::from(marked > 1)
}

#[cfg(test)]
mod tests;
