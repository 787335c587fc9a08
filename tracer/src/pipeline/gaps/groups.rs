//! Compares the kills in each memory cgroup with `oom_kill` in its memory.events. Pure.
//!
//! That counter counts the victims that live in the group, no matter whose limit was hit. On cgroup
//! v2 it includes those of the groups below; on v1 (memory.oom_control, since 4.13) it does not.
//! The group of a victim is known by its path. If the path is unknown, the victim may have been in
//! any group, so the count here is an upper bound.

use std::collections::BTreeMap;

use super::{Gap, Gaps, Reading, kills};
use crate::{
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        account::Account,
        report::{OomReport, Victim},
    },
    pipeline::assemble::InFlight,
};

/// Number of watched groups. Those that were over their limit last are kept.
const MAX_GROUPS: usize = 64;

#[derive(Debug, Default)]
struct Watched {
    path: String,
    gaps: Gaps,
    /// Number of the latest report in which it was over its limit.
    latest: u64,
}

/// Compares the two counts of each group.
#[derive(Debug, Default)]
pub(crate) struct GroupGaps {
    is_hierarchical: bool,
    n_reports: u64,
    groups: BTreeMap<u64, Watched>,
}

impl GroupGaps {
    /// `is_hierarchical`: a group's counter has the kills of the groups below it.
    pub(crate) fn new(is_hierarchical: bool) -> Self {
        Self { is_hierarchical, ..Self::default() }
    }

    /// Begins to watch a group, if it is not watched yet.
    pub(crate) fn watch(&mut self, id: u64, path: &str) {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&id) {
            let oldest = self.groups.iter().min_by_key(|(_, group)| group.latest);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.groups.remove(&oldest);
            }
        }
        let group = self.groups.entry(id).or_default();
        path.clone_into(&mut group.path);
        group.latest = self.n_reports;
    }

    /// Counts the kills of an account, and watches the group whose limit was hit.
    pub(crate) fn add(&mut self, account: &Account, report: &OomReport) {
        self.n_reports += 1;
        if let Some(group) = oom_memcg(account, report) {
            self.watch(group.id, &group.path);
        }
        let marked = || report.victims.iter().filter(|victim| victim.shares_mm_with.is_none());
        let elsewhere = kills(account).saturating_sub(marked().count() as u64);
        for group in self.groups.values_mut() {
            let inside =
                marked().filter(|victim| may_live_in(victim, &group.path, self.is_hierarchical));
            let n_kills = inside.count() as u64 + elsewhere;
            if n_kills > 0 {
                group.gaps.add(n_kills);
            }
        }
    }

    /// Notes records that were lost.
    pub(crate) fn lost(&mut self, records: u64) {
        self.groups.values_mut().for_each(|group| group.gaps.lost(records));
    }

    /// Groups whose counter was never read.
    pub(crate) fn new_groups(&self) -> Vec<CountedCgroup> {
        self.groups_where(|gaps| gaps.base.is_none())
    }

    /// Groups whose counter must be read again.
    pub(crate) fn waiting(&self) -> Vec<CountedCgroup> {
        self.groups_where(Gaps::is_waiting)
    }

    fn groups_where(&self, which: impl Fn(&Gaps) -> bool) -> Vec<CountedCgroup> {
        let groups = self.groups.iter().filter(|(_, group)| which(&group.gaps));
        groups.map(|(id, group)| CountedCgroup { id: *id, path: group.path.clone() }).collect()
    }

    /// Compares the counts; see [`Gaps::check`].
    pub(crate) fn check(&mut self, id: u64, reading: Reading, in_flight: InFlight) -> Option<Gap> {
        self.groups.get_mut(&id)?.gaps.check(reading, in_flight)
    }

    /// Compares for the last time; see [`Gaps::last_check`].
    pub(crate) fn last_check(&mut self, id: u64, reading: Reading) -> Option<Gap> {
        self.groups.get_mut(&id)?.gaps.last_check(reading)
    }

    /// The group is gone, and its counter with it.
    pub(crate) fn forget(&mut self, id: u64) {
        self.groups.remove(&id);
    }
}

/// The group whose limit was hit, if its path is known.
fn oom_memcg(account: &Account, report: &OomReport) -> Option<CountedCgroup> {
    let id = account.oom_memcg_id();
    let cgroup = &report.oom_memcg.as_ref()?.cgroup;
    let path = cgroup.path.as_ref().filter(|_| id != 0 && !cgroup.path_truncated)?;
    Some(CountedCgroup { id, path: path.clone() })
}

fn may_live_in(victim: &Victim, path: &str, or_below: bool) -> bool {
    let known = victim.cgroup.as_ref().filter(|cgroup| !cgroup.path_truncated);
    let Some(own) = known.and_then(|cgroup| cgroup.path.as_deref()) else {
        return true;
    };
    let below = own.strip_prefix(path.trim_end_matches('/'));
    own == path || (or_below && below.is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests;
