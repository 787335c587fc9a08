//! Reads the maps of the growth recorder, only when a report needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use oomwhy_common::growth::{Charged, Charger, UserStack};

use super::{
    charges::{Origin, Sum, by_user_stack, sums},
    curve::{points, until},
};
use crate::{
    bpf::{growth_maps::GrowthMaps, recorder_registry::Registration},
    host::clock,
    model::{
        events::{UserFrame, user_frame},
        names::unnamed,
        recorded_growth::{AllocationSite, Chosen, Recorded, Usage},
    },
};

/// Allocation sites in a report.
const MAX_SITES: usize = 50;
/// A reading this long after the choice includes later charges: oomwhy was busy, or not running.
/// ns.
const LATE_NS: u64 = 1_000_000_000;
/// A stack with fewer frames was not unwound. The running function, its caller and the start of the
/// thread are three.
const UNWOUND_FRAMES: usize = 3;

/// The growth of one memcg.
pub(crate) struct Read {
    /// For the report. Its frames have no names yet.
    pub recorded: Recorded,
    /// The processes that grew most, and the frames that need names.
    pub growing: Vec<ProcessFrames>,
}

/// A process that grew.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProcessFrames {
    pub pid: u32,
    /// Frames of all its allocation sites in the report, each once.
    pub frames: Vec<UserFrame>,
}

/// The charges to all memcgs, read at one time.
pub(crate) struct Charges(Vec<(Charger, Charged)>);

/// The maps that the growth probe fills.
pub(crate) struct Recorder {
    maps: GrowthMaps,
    /// Keeps the recorder registered for `oomwhy risk`.
    registration: Option<Registration>,
}

impl Recorder {
    pub(crate) fn new(maps: GrowthMaps) -> Self {
        Self { maps, registration: None }
    }

    /// Lets `oomwhy risk` find this recorder until it is dropped.
    pub(crate) fn register(&mut self, above_percent: u32) -> io::Result<()> {
        self.registration = Some(self.maps.register(above_percent)?);
        Ok(())
    }

    /// The usage of a memcg over time, oldest first; empty if it was not recorded.
    pub(crate) fn curve(&self, cgroup_id: u64) -> Vec<Usage> {
        self.maps.curve(cgroup_id).map(|curve| points(&curve)).unwrap_or_default()
    }

    /// Reads the charges to all memcgs, for [`Self::top`].
    pub(crate) fn charged(&self) -> Charges {
        Charges(self.maps.charged())
    }

    /// The user stacks that charged most to a memcg in this epoch and the one before.
    pub(crate) fn top(
        &self,
        charges: &Charges,
        cgroup_id: u64,
        count: usize,
    ) -> Vec<AllocationSite> {
        let mut sums = by_user_stack(sums(&charges.0, cgroup_id, clock::boottime_ns()));
        sums.truncate(count);
        self.sites(&sums, &self.stacks(&sums))
    }

    /// The growth of a memcg until a process was chosen there; `None` if nothing was recorded.
    pub(crate) fn read(&self, cgroup_id: u64, chosen: Chosen) -> Option<Read> {
        let delay_ns = clock::boottime_ns().saturating_sub(chosen.at_ns);
        let late_ns = Some(delay_ns).filter(|&delay| delay > LATE_NS);
        let entries = self.maps.charged();
        let sums = sums(&entries, cgroup_id, chosen.at_ns);
        let curve = until(self.curve(cgroup_id), chosen);
        if curve.is_empty() && sums.is_empty() {
            return None;
        }
        let stacks = self.stacks(&sums);
        let is_unwound = |origin: &Origin| {
            let stack = stacks.get(&origin.user_stack);
            stack.is_some_and(|frames| frames.len() >= UNWOUND_FRAMES)
        };
        let unwound = sums.iter().filter(|(origin, _)| is_unwound(origin));
        let (new, dropped) = self.maps.counters();
        let there = u64::try_from(entries.len()).unwrap_or_default();
        let recorded = Recorded {
            curve,
            pages: sums.iter().map(|(_, sum)| sum.pages).sum(),
            unwound_pages: unwound.map(|(_, sum)| sum.pages).sum(),
            pushed_out: new.saturating_sub(there),
            dropped,
            skipped: self.maps.skipped(),
            late_ns,
            sites: self.sites(&sums, &stacks),
        };
        Some(Read { recorded, growing: growing_processes(&sums, &stacks) })
    }

    fn stacks(&self, sums: &[(Origin, Sum)]) -> BTreeMap<u64, Vec<UserFrame>> {
        let hashes: BTreeSet<u64> = sums.iter().map(|(origin, _)| origin.user_stack).collect();
        let stack = |hash| Some((hash, frames(&*self.maps.user_stack(hash)?)));
        hashes.into_iter().filter(|&hash| hash != 0).filter_map(stack).collect()
    }

    fn sites(
        &self,
        sums: &[(Origin, Sum)],
        stacks: &BTreeMap<u64, Vec<UserFrame>>,
    ) -> Vec<AllocationSite> {
        let site = |(origin, sum): &(Origin, Sum)| {
            let user = stacks.get(&origin.user_stack).into_iter().flatten();
            let kernel_stack = self.maps.kernel_stack(origin.kernel_stack);
            let kernel_frames = kernel_stack.iter().flat_map(|stack| stack.frames);
            AllocationSite {
                pages: sum.pages,
                tgid: i32::try_from(origin.tgid).unwrap_or_default(),
                comm: sum.comm.clone(),
                user: user.map(unnamed).collect(),
                kernel: kernel_frames.take_while(|&ip| ip != 0).collect(),
            }
        };
        sums.iter().take(MAX_SITES).map(site).collect()
    }
}

/// The processes of the allocation sites in a report, the ones that grew most first.
fn growing_processes(
    sums: &[(Origin, Sum)],
    stacks: &BTreeMap<u64, Vec<UserFrame>>,
) -> Vec<ProcessFrames> {
    let mut growing: Vec<ProcessFrames> = Vec::new();
    for (origin, _) in sums.iter().take(MAX_SITES) {
        let Some(pid) = u32::try_from(origin.tgid).ok().filter(|&pid| pid != 0) else { continue };
        let frames = stacks.get(&origin.user_stack).into_iter().flatten().cloned();
        if let Some(known) = growing.iter_mut().find(|known| known.pid == pid) {
            known.frames.extend(frames);
        } else {
            growing.push(ProcessFrames { pid, frames: frames.collect() });
        }
    }
    for process in &mut growing {
        process.frames.sort_unstable();
        process.frames.dedup();
    }
    growing
}

fn frames(stack: &UserStack) -> Vec<UserFrame> {
    stack.frames.iter().map_while(user_frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_two_sites_is_listed_once_with_all_frames() {
        let ip = |ip| UserFrame::Ip { ip };
        let stacks = [(1, vec![ip(10), ip(30)]), (2, vec![ip(20), ip(30)])].into();
        let sum = |tgid, user_stack| {
            let origin = Origin { tgid, user_stack, kernel_stack: 1 };
            (origin, Sum { pages: 64, comm: Vec::new() })
        };
        // Nobody's memory is not asked about.
        let sums = [sum(7, 1), sum(0, 0), sum(8, 2), sum(7, 2), sum(9, 1), sum(10, 1), sum(11, 1)];
        let growing = growing_processes(&sums, &stacks);
        let pids: Vec<u32> = growing.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [7, 8, 9, 10, 11]);
        assert_eq!(growing[0].frames, [ip(10), ip(20), ip(30)]);
        assert_eq!(growing[1].frames, [ip(20), ip(30)]);
    }
}
