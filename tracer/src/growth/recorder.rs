//! Reads the recorder's maps. Nothing is read while nothing happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use oomwhy_common::growth::{Charged, Charger, UserStack};

use super::select::{Origin, Sum, by_user_stack, points, sums, until};
use crate::{
    bpf::{growth_maps::GrowthMaps, recorder_registry::Registration},
    host::clock,
    model::{
        events::{UserFrame, user_frame},
        names::unnamed,
        recorded_growth::{AllocationSite, Chosen, Recorded, Usage},
    },
};

/// Places that a report has.
const MOST_PLACES: usize = 50;
/// What is read later than this after the choice is no longer what there was then: oomwhy was busy, or not
/// there. ns.
const LATE_NS: u64 = 1_000_000_000;
/// A stack with fewer frames was hardly unwound: the one that runs, its caller, and where the thread
/// began are three.
const UNWOUND_FRAMES: usize = 3;

/// What was read.
pub(crate) struct Read {
    /// For the report; its frames have no names yet.
    pub recorded: Recorded,
    /// Who grew most, and the frames that want names.
    pub growers: Vec<Grower>,
}

/// A process that grew.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grower {
    /// Process.
    pub pid: u32,
    /// Frames of all its places that are in the report, each once.
    pub frames: Vec<UserFrame>,
}

/// Everything that was charged, at one time.
pub(crate) struct Charges(Vec<(Charger, Charged)>);

/// Reads what the probe has kept.
pub(crate) struct Recorder {
    maps: GrowthMaps,
    /// Keeps its place in the list of those that run.
    known: Option<Registration>,
}

impl Recorder {
    /// Over these maps.
    pub(crate) fn new(maps: GrowthMaps) -> Self {
        Self { maps, known: None }
    }

    /// Lets `oomwhy risk` find it, as long as it is there.
    pub(crate) fn register(&mut self, above_percent: u32) -> io::Result<()> {
        self.known = Some(self.maps.register(above_percent)?);
        Ok(())
    }

    /// The usage of a memcg over time, oldest first; empty if it was not recorded.
    pub(crate) fn curve(&self, cgroup_id: u64) -> Vec<Usage> {
        self.maps.curve(cgroup_id).map(|curve| points(&curve)).unwrap_or_default()
    }

    /// What was charged anywhere, to be asked about many memcgs.
    pub(crate) fn charged(&self) -> Charges {
        Charges(self.maps.charged())
    }

    /// The places in user space from which most was charged to a memcg since the epoch before this one.
    pub(crate) fn top(
        &self,
        charges: &Charges,
        cgroup_id: u64,
        count: usize,
    ) -> Vec<AllocationSite> {
        let mut sums = by_user_stack(sums(&charges.0, cgroup_id, clock::boottime_ns()));
        sums.truncate(count);
        self.places(&sums, &self.stacks(&sums))
    }

    /// What was recorded of a memcg until a process was chosen there, `None` if nothing was.
    pub(crate) fn read(&self, cgroup_id: u64, chosen: Chosen) -> Option<Read> {
        let late = clock::boottime_ns().saturating_sub(chosen.at_ns);
        let late_ns = Some(late).filter(|&late| late > LATE_NS);
        let entries = self.maps.charged();
        let sums = sums(&entries, cgroup_id, chosen.at_ns);
        let curve = self.curve(cgroup_id);
        let curve = if late_ns.is_some() { until(curve, chosen) } else { curve };
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
            places: self.places(&sums, &stacks),
        };
        Some(Read { recorded, growers: growers(&sums, &stacks) })
    }

    fn stacks(&self, sums: &[(Origin, Sum)]) -> BTreeMap<u64, Vec<UserFrame>> {
        let hashes: BTreeSet<u64> = sums.iter().map(|(origin, _)| origin.user_stack).collect();
        let stack = |hash| Some((hash, frames(&*self.maps.user_stack(hash)?)));
        hashes.into_iter().filter(|&hash| hash != 0).filter_map(stack).collect()
    }

    fn places(
        &self,
        sums: &[(Origin, Sum)],
        stacks: &BTreeMap<u64, Vec<UserFrame>>,
    ) -> Vec<AllocationSite> {
        let place = |(origin, sum): &(Origin, Sum)| {
            let user = stacks.get(&origin.user_stack).into_iter().flatten();
            let kernel = self.maps.kernel_stack(origin.kernel_stack);
            let kernel = kernel.iter().flat_map(|stack| stack.frames);
            AllocationSite {
                pages: sum.pages,
                tgid: i32::try_from(origin.tgid).unwrap_or_default(),
                comm: sum.comm.clone(),
                user: user.map(unnamed).collect(),
                kernel: kernel.take_while(|&ip| ip != 0).collect(),
            }
        };
        sums.iter().take(MOST_PLACES).map(place).collect()
    }
}

/// Of the places that a report has, those who grew most first.
fn growers(sums: &[(Origin, Sum)], stacks: &BTreeMap<u64, Vec<UserFrame>>) -> Vec<Grower> {
    let mut growers: Vec<Grower> = Vec::new();
    for (origin, _) in sums.iter().take(MOST_PLACES) {
        let Some(pid) = u32::try_from(origin.tgid).ok().filter(|&pid| pid != 0) else { continue };
        let frames = stacks.get(&origin.user_stack).into_iter().flatten().cloned();
        if let Some(known) = growers.iter_mut().find(|known| known.pid == pid) {
            known.frames.extend(frames);
        } else {
            growers.push(Grower { pid, frames: frames.collect() });
        }
    }
    for grower in &mut growers {
        grower.frames.sort_unstable();
        grower.frames.dedup();
    }
    growers
}

fn frames(stack: &UserStack) -> Vec<UserFrame> {
    stack.frames.iter().map_while(user_frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_asked_about_once_with_the_frames_of_all_its_places() {
        let ip = |ip| UserFrame::Ip { ip };
        let stacks = [(1, vec![ip(10), ip(30)]), (2, vec![ip(20), ip(30)])].into();
        let sum = |tgid, user_stack| {
            let origin = Origin { tgid, user_stack, kernel_stack: 1 };
            (origin, Sum { pages: 64, comm: Vec::new() })
        };
        // Nobody's memory is not asked about.
        let sums = [sum(7, 1), sum(0, 0), sum(8, 2), sum(7, 2), sum(9, 1), sum(10, 1), sum(11, 1)];
        let growers = growers(&sums, &stacks);
        let pids: Vec<u32> = growers.iter().map(|grower| grower.pid).collect();
        assert_eq!(pids, [7, 8, 9, 10, 11]);
        assert_eq!(growers[0].frames, [ip(10), ip(20), ip(30)]);
        assert_eq!(growers[1].frames, [ip(20), ip(30)]);
    }
}
