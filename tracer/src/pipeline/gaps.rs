//! Were all kills seen? Our count against the kernel's own, `oom_kill` in /proc/vmstat. Pure.
//!
//! The kernel counts in `__oom_kill_process`, once for every call that finds memory to free: the
//! first victim of a memory.oom.group twice, processes that die only because they share a victim's
//! memory not at all. So what is compared are calls, not victims. A call that found nothing to
//! free is counted here and not there: then the counts agree though one kill was missed, but only
//! until the next comparison, which starts from zero.
//!
//! A kill in flight is no gap. The kernel counts it before it is marked, and its records come
//! later: so nothing is concluded while an invocation kills, and a difference is told only when
//! no kill has arrived for a while that explains it.

mod groups;

pub(crate) use self::groups::GroupGaps;
use crate::{model::account::Account, pipeline::assemble::Amid};

/// Time after which a kill that the kernel had counted must have come out of the ring. ns.
pub(crate) const SETTLES_AFTER_NS: u64 = 1_000_000_000;

/// What the kernel had counted at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Kills since the boot.
    pub kills: u64,
    /// `CLOCK_BOOTTIME`, ns.
    pub at_ns: u64,
}

/// Kills that were not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Kills that the kernel counted.
    pub expected: u64,
    /// Kills that the records account for, at most.
    pub seen: u64,
    /// Kernel-side records lost in the same time.
    pub drops: u64,
    /// Start of that time, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// When the difference was noticed, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
}

/// A difference that a kill in flight may explain yet.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    reading: Reading,
    /// Kills seen then.
    seen: u64,
}

/// Compares both counts.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// The latest reading at which nothing was left to explain; counts start here. `None` until
    /// the first one.
    base: Option<Reading>,
    /// Kills that the records account for, at most.
    seen: u64,
    /// Records lost.
    drops: u64,
    suspicion: Option<Suspicion>,
    /// Where marks are all that is seen: who triggered the latest one, and when.
    latest_mark: Option<(i32, u64)>,
    /// Something has happened since the latest comparison.
    is_unchecked: bool,
}

impl Gaps {
    /// Counts the kills of an invocation.
    pub(crate) fn saw_all_of(&mut self, account: &Account) {
        let second = self.is_second_of_group(account);
        self.saw(kills(account) + u64::from(second));
    }

    /// Counts kills that were seen.
    pub(crate) fn saw(&mut self, kills: u64) {
        self.seen += kills;
        self.is_unchecked = true;
    }

    /// Whether a mark that stands alone may be the second of a group, whose first was counted twice.
    fn is_second_of_group(&mut self, account: &Account) -> bool {
        let trigger = account.invocation.as_ref().filter(|_| account.mark.is_some());
        let Some(invocation) = trigger else {
            return false;
        };
        let (tid, now) = (invocation.trigger.tid, account.first_ns);
        let before = self.latest_mark.replace((tid, now));
        before
            .is_some_and(|(before, ns)| before == tid && now.saturating_sub(ns) < SETTLES_AFTER_NS)
    }

    /// Notes kernel-side records that were lost: the likely reason for a gap.
    pub(crate) fn lost(&mut self, records: u64) {
        self.drops += records;
        self.is_unchecked = true;
    }

    /// Whether another reading is wanted soon.
    pub(crate) fn is_waiting(&self) -> bool {
        self.base.is_some() && self.is_unchecked
    }

    /// Compares. The ring must have been emptied before the reading was taken; `amid`: what may be
    /// counted in the kernel and not here.
    pub(crate) fn check(&mut self, reading: Reading, amid: Amid) -> Option<Gap> {
        let Some(base) = self.base else {
            self.start_from(reading);
            return None;
        };
        if reading.kills.saturating_sub(base.kills) <= self.seen {
            if amid == Amid::Nothing {
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
        if amid == Amid::Kills || !has_settled(suspicion.reading, reading) {
            return None;
        }
        Some(self.tell(base, suspicion.reading, reading))
    }

    /// Compares for the last time, when nothing is open any more: what was suspected before, and
    /// has not been explained by kills that arrived since, is told.
    pub(crate) fn last_check(&mut self, reading: Reading) -> Option<Gap> {
        let (base, first) = (self.base?, self.suspicion?.reading);
        let unexplained = first.kills.saturating_sub(base.kills) > self.seen;
        (unexplained && has_settled(first, reading)).then(|| self.tell(base, first, reading))
    }

    /// The gap as of the first reading that had it: what was counted since then may be in flight
    /// still, and is left for the next time.
    fn tell(&mut self, base: Reading, first: Reading, now: Reading) -> Gap {
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

/// Whether what was counted at `first` must have come out of the ring by `now`.
fn has_settled(first: Reading, now: Reading) -> bool {
    now.at_ns.saturating_sub(first.at_ns) >= SETTLES_AFTER_NS
}

/// Kills of one invocation as the kernel counts them, at most.
pub(crate) fn kills(account: &Account) -> u64 {
    let marked = |marked: u64| marked + u64::from(marked > 1);
    match &account.end {
        Some(end) if end.kill_calls == 0 => 0,
        Some(end) => match end.shots {
            Some(shots) => shots.into(),
            // Not hooked: those marked, and one twice if it was a group.
            None => marked(end.victims.into()).max(end.kill_calls.into()),
        },
        // The end was lost.
        // Or there is none, where a mark is all that is seen.
        None => marked(account.marks.into()).max(account.mark.is_some().into()),
    }
}

#[cfg(test)]
mod tests;
