//! Compares the reported kills with the kernel's counts, and counts lost records.

use std::collections::BTreeMap;

use super::{
    assemble::InFlight,
    gaps::{Gap, Gaps, GroupGaps, Reading},
};
use crate::{
    bpf::journal::{self, LOSSES},
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        account::Account,
        report::{LossReason, OomReport},
    },
};

/// Numbers of records that the probes could not write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Details of invocations, and records without an invocation.
    pub(super) details: u64,
    /// Compact records of kills, by the reason of the kill. `None`: the reason is unknown.
    pub(super) kills: BTreeMap<Option<LossReason>, u64>,
}

impl Lost {
    /// The total of `count` records, `kills` of which were of kills.
    pub(super) fn new(count: u64, kills: u64, by_reason: BTreeMap<LossReason, u64>) -> Self {
        let unknown = kills.saturating_sub(by_reason.values().sum());
        let mut of_kills: BTreeMap<_, _> =
            by_reason.into_iter().map(|(reason, count)| (Some(reason), count)).collect();
        of_kills.insert(None, unknown);
        Self { details: count.saturating_sub(kills), kills: of_kills }
    }

    fn total(&self) -> u64 {
        self.details + self.kills.values().sum::<u64>()
    }
}

/// The state of all comparisons.
pub(super) struct CrossCheck {
    gaps: Gaps,
    group_gaps: GroupGaps,
    /// The run has ended: no further kill can explain a difference.
    is_last: bool,
    /// Lost records and skipped runs that are reported already, those of an earlier run included,
    /// by the keys of these reports.
    reported: BTreeMap<u64, u64>,
    lost_since_report: u64,
    /// Records that the kernel side could not write during this run.
    pub(super) n_lost: u64,
    /// Runs that the kernel skipped and no earlier run has reported.
    pub(super) n_missed: u64,
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
            reported: BTreeMap::new(),
            lost_since_report: 0,
            n_lost: 0,
            n_missed: 0,
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

    /// Sets which counts an earlier run has reported. The marks of other reports are left out.
    pub(super) fn resume(&mut self, reported: &BTreeMap<u64, u64>) {
        self.reported = reported.range(journal::FIRST_COUNT..).map(|(&k, &v)| (k, v)).collect();
    }

    /// Stores the total of a count; returns how much of it is new.
    fn new_of(&mut self, key: u64, count: u64) -> u64 {
        let known = self.reported.entry(key).or_default();
        let new = count.saturating_sub(*known);
        *known += new;
        new
    }

    /// Stores the totals of lost records; returns how many are new.
    pub(super) fn lost(&mut self, lost: &Lost) -> Lost {
        let details = self.new_of(LOSSES, lost.details);
        let kills = lost
            .kills
            .iter()
            .map(|(&reason, &count)| (reason, self.new_of(journal::lost_kills(reason), count)));
        let new = Lost { details, kills: kills.collect() };
        let count = new.total();
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
        let new = self.new_of(journal::misses(program), count);
        self.n_missed += new;
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
    use super::*;

    #[test]
    fn skipped_run_is_new_once_per_program() {
        let mut check = CrossCheck::new(true);
        assert_eq!(check.missed("exit_mmap_ret", 3), 3);
        assert_eq!(check.missed("exit_mmap_ret", 5), 2);
        assert_eq!(check.missed("oom_badness_ret", 5), 5);
        assert_eq!(check.missed("exit_mmap_ret", 5), 0);
        assert_eq!(check.n_missed, 10);
    }

    #[test]
    fn counts_that_an_earlier_run_reported_are_not_new() {
        let lost = |kills, members| {
            Lost::new(kills + 5, kills, BTreeMap::from([(LossReason::GroupMember, members)]))
        };
        let mut check = CrossCheck::new(true);
        let members = journal::lost_kills(Some(LossReason::GroupMember));
        let reported = [(7, 2), (LOSSES, 4), (members, 30), (journal::misses("exit_mmap"), 3)];
        check.resume(&BTreeMap::from(reported));
        let new = check.lost(&lost(42, 40));
        let kills = BTreeMap::from([(None, 2), (Some(LossReason::GroupMember), 10)]);
        assert_eq!(new, Lost { details: 1, kills });
        assert_eq!((check.n_lost, check.lost(&lost(42, 40)).total()), (13, 0));
        assert_eq!((check.missed("exit_mmap", 3), check.missed("exit_mmap", 4)), (0, 1));
        assert_eq!((check.missed("exit_mmap_ret", 2), check.n_missed), (2, 3));
    }

    #[test]
    fn lost_kill_without_reason_has_none() {
        let older = Lost::new(9, 4, BTreeMap::new());
        assert_eq!(older, Lost { details: 5, kills: BTreeMap::from([(None, 4)]) });
        let all_known = Lost::new(4, 4, BTreeMap::from([(LossReason::Marked, 4)]));
        assert_eq!(all_known.kills[&None], 0);
    }
}
