//! Compares the reported kills with the kernel's counts, and counts lost records.

use std::collections::BTreeMap;

use super::{
    assemble::InFlight,
    gaps::{Gap, Gaps, GroupGaps, Reading},
};
use crate::{
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{account::Account, report::OomReport},
};

/// Numbers of records that the probes could not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Details of invocations, and records without an invocation.
    pub(super) details: u64,
    /// Compact records of kills.
    pub(super) kills: u64,
}

/// The state of all comparisons.
pub(super) struct CrossCheck {
    gaps: Gaps,
    group_gaps: GroupGaps,
    /// The run has ended: no further kill can explain a difference.
    is_last: bool,
    /// Lost records that are reported already, those of an earlier run included.
    lost_before: Lost,
    lost_since_report: u64,
    /// Records that the kernel side could not write during this run.
    pub(super) n_lost: u64,
    /// Runs that the kernel skipped, by program.
    pub(super) misses: BTreeMap<String, u64>,
    /// Kills that the kernel counted and no record showed.
    pub(super) n_unseen: u64,
}

impl CrossCheck {
    /// `is_hierarchical`: a group's counter has the kills of the groups below it.
    pub(super) fn new(is_hierarchical: bool) -> Self {
        Self {
            gaps: Gaps::default(),
            group_gaps: GroupGaps::new(is_hierarchical),
            is_last: false,
            lost_before: Lost::default(),
            lost_since_report: 0,
            n_lost: 0,
            misses: BTreeMap::new(),
            n_unseen: 0,
        }
    }

    /// Counts the kills of an account that was not reported before.
    pub(super) fn add_account(&mut self, account: &Account) {
        self.gaps.add_account(account);
    }

    /// Counts the kills of the same account for the groups in its report.
    pub(super) fn add_report(&mut self, account: &Account, report: &OomReport) {
        self.group_gaps.add(account, report);
    }

    /// Sets how many lost records an earlier run has reported.
    pub(super) fn set_lost_before(&mut self, lost: Lost) {
        self.lost_before = lost;
    }

    /// Stores the totals of lost records; returns how many are new.
    pub(super) fn lost(&mut self, lost: Lost) -> Lost {
        let before = self.lost_before;
        let new = Lost {
            details: lost.details.saturating_sub(before.details),
            kills: lost.kills.saturating_sub(before.kills),
        };
        self.lost_before =
            Lost { details: lost.details.max(before.details), kills: lost.kills.max(before.kills) };
        let count = new.details + new.kills;
        if count > 0 {
            self.lost_since_report += count;
            self.n_lost += count;
            self.gaps.lost(count);
            self.group_gaps.lost(count);
        }
        new
    }

    /// Stores the total of skipped runs of a program; returns how many are new.
    pub(super) fn missed(&mut self, program: &str, count: u64) -> u64 {
        let known = self.misses.entry(program.to_owned()).or_default();
        let new = count.saturating_sub(*known);
        *known += new;
        new
    }

    /// Lost records since this was called last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_since_report)
    }

    pub(super) fn end(&mut self) {
        self.is_last = true;
    }

    /// Compares with the host's count.
    pub(super) fn counted(&mut self, reading: Reading, in_flight: InFlight) -> Option<Gap> {
        let gap = if self.is_last {
            self.gaps.last_check(reading)
        } else {
            self.gaps.check(reading, in_flight)
        }?;
        self.n_unseen += gap.expected - gap.seen;
        Some(gap)
    }

    /// Compares with the count of a group, and watches it from now on.
    pub(super) fn group_counted(
        &mut self,
        group: &CountedCgroup,
        reading: Reading,
        in_flight: InFlight,
    ) -> Option<Gap> {
        self.group_gaps.watch(group.id, &group.path);
        if self.is_last {
            self.group_gaps.last_check(group.id, reading)
        } else {
            self.group_gaps.check(group.id, reading, in_flight)
        }
    }

    /// The group is gone, and its counter with it.
    pub(super) fn forget_group(&mut self, id: u64) {
        self.group_gaps.forget(id);
    }

    /// Whether the kernel has counted kills that are not explained yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.gaps.is_waiting() || !self.groups_to_count().is_empty()
    }

    /// Groups whose counter must be read again.
    pub(super) fn groups_to_count(&self) -> Vec<CountedCgroup> {
        self.group_gaps.waiting()
    }

    /// Groups whose counter was never read.
    pub(super) fn new_groups(&self) -> Vec<CountedCgroup> {
        self.group_gaps.new_groups()
    }
}

#[cfg(test)]
mod tests {
    use super::CrossCheck;

    #[test]
    fn skipped_run_is_new_once_per_program() {
        let mut check = CrossCheck::new(true);
        assert_eq!(check.missed("exit_mmap_ret", 3), 3);
        assert_eq!(check.missed("exit_mmap_ret", 5), 2);
        assert_eq!(check.missed("oom_badness_ret", 5), 5);
        assert_eq!(check.missed("exit_mmap_ret", 5), 0);
        assert_eq!(check.misses.values().sum::<u64>(), 10);
    }
}
