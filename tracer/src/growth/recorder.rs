//! Reads the recorder's maps and names the places. Nothing is read while nothing happens.

use std::collections::{BTreeMap, BTreeSet};

use oomwhy_common::growth::UserStack;

use super::{
    Place, Recorded,
    select::{Origin, Sum, points, sums},
};
use crate::{
    clock,
    decode::user_frame,
    events::UserFrame,
    loader::growth::GrowthMaps,
    report::Frame,
    user_symbols::{self, UserSymbols},
};

/// Places that a report has.
const MOST_PLACES: usize = 50;
/// Processes whose files are asked for names: each takes a child of ours.
const MOST_ASKED: usize = 4;
/// A stack with fewer frames was hardly unwound: the one that runs, its caller, and where the thread
/// began are three.
const UNWOUND_FRAMES: usize = 3;

/// Reads what the probe has kept.
pub struct Recorder {
    maps: GrowthMaps,
    symbols: UserSymbols,
}

impl Recorder {
    /// Over these maps.
    pub fn new(maps: GrowthMaps) -> Self {
        Self { maps, symbols: UserSymbols::default() }
    }

    /// A process grows near a limit: its files are opened while it is there.
    pub fn grows(&mut self, tgid: i32) {
        if let Ok(pid) = u32::try_from(tgid) {
            self.symbols.open_files(pid);
        }
    }

    /// What was recorded of a memcg, `None` if nothing was.
    pub fn read(&mut self, cgroup_id: u64) -> Option<Recorded> {
        let entries = self.maps.charged();
        let sums = sums(&entries, cgroup_id, clock::boottime_ns());
        let curve = self.maps.curve(cgroup_id).map(|curve| points(&curve)).unwrap_or_default();
        if curve.is_empty() && sums.is_empty() {
            return None;
        }
        for (origin, _) in sums.iter().take(MOST_PLACES) {
            self.grows(i32::try_from(origin.tgid).unwrap_or_default());
        }
        let stacks = self.stacks(&sums);
        let is_unwound = |origin: &Origin| {
            let stack = stacks.get(&origin.user_stack);
            stack.is_some_and(|frames| frames.len() >= UNWOUND_FRAMES)
        };
        let unwound = sums.iter().filter(|(origin, _)| is_unwound(origin));
        let (new, dropped) = self.maps.counters();
        let there = u64::try_from(entries.len()).unwrap_or_default();
        Some(Recorded {
            curve,
            pages: sums.iter().map(|(_, sum)| sum.pages).sum(),
            unwound_pages: unwound.map(|(_, sum)| sum.pages).sum(),
            pushed_out: new.saturating_sub(there),
            dropped,
            places: self.places(&sums, &stacks),
        })
    }

    fn stacks(&self, sums: &[(Origin, Sum)]) -> BTreeMap<u64, Vec<UserFrame>> {
        let hashes: BTreeSet<u64> = sums.iter().map(|(origin, _)| origin.user_stack).collect();
        let stack = |hash| Some((hash, frames(&*self.maps.user_stack(hash)?)));
        hashes.into_iter().filter(|&hash| hash != 0).filter_map(stack).collect()
    }

    fn places(
        &mut self,
        sums: &[(Origin, Sum)],
        stacks: &BTreeMap<u64, Vec<UserFrame>>,
    ) -> Vec<Place> {
        let top: Vec<_> = sums.iter().take(MOST_PLACES).collect();
        let mut pids: Vec<u64> = Vec::new();
        for (origin, _) in &top {
            if origin.tgid != 0 && !pids.contains(&origin.tgid) {
                pids.push(origin.tgid);
            }
        }
        let mut names = BTreeMap::new();
        for &pid in pids.iter().take(MOST_ASKED) {
            let of_pid = top.iter().filter(|(origin, _)| origin.tgid == pid);
            let of_pid = of_pid.filter_map(|(origin, _)| stacks.get(&origin.user_stack));
            names.insert(pid, self.names(pid, &of_pid.flatten().collect::<Vec<_>>()));
        }
        let place = |(origin, sum): &&(Origin, Sum)| {
            let names = names.get(&origin.tgid);
            let user = stacks.get(&origin.user_stack).into_iter().flatten();
            let kernel = self.maps.kernel_stack(origin.kernel_stack);
            let kernel = kernel.iter().flat_map(|stack| stack.frames);
            Place {
                pages: sum.pages,
                tgid: i32::try_from(origin.tgid).unwrap_or_default(),
                comm: sum.comm.clone(),
                user: user.map(|frame| named(frame, names)).collect(),
                kernel: kernel.take_while(|&ip| ip != 0).collect(),
            }
        };
        top.iter().map(place).collect()
    }

    fn names(&mut self, pid: u64, frames: &[&UserFrame]) -> Names {
        let mut places = BTreeSet::new();
        let mut ips = BTreeSet::new();
        for frame in frames {
            match frame {
                UserFrame::File { build_id, file_offset } => {
                    places.insert(user_symbols::Place {
                        build_id: build_id.clone(),
                        file_offset: *file_offset,
                    });
                }
                UserFrame::Ip { ip } => {
                    ips.insert(*ip);
                }
            }
        }
        let places: Vec<_> = places.into_iter().collect();
        let ips: Vec<u64> = ips.into_iter().collect();
        let process = user_symbols::Process::now(u32::try_from(pid).unwrap_or_default());
        let names = self.symbols.resolve(process, None, &places, &ips);
        Names {
            places: names.places.into_iter().collect(),
            ips: names.addresses.into_iter().collect(),
        }
    }
}

/// Names of frames of one process.
struct Names {
    places: BTreeMap<user_symbols::Place, user_symbols::Name>,
    ips: BTreeMap<u64, user_symbols::Name>,
}

fn frames(stack: &UserStack) -> Vec<UserFrame> {
    stack.frames.iter().map_while(user_frame).collect()
}

fn named(frame: &UserFrame, names: Option<&Names>) -> Frame {
    match frame {
        UserFrame::File { build_id, file_offset } => {
            let (build_id, file_offset) = (build_id.clone(), *file_offset);
            let place = user_symbols::Place { build_id: build_id.clone(), file_offset };
            let name = names.and_then(|names| names.places.get(&place));
            let frame = Frame {
                build_id: Some(build_id),
                file_offset: Some(file_offset),
                ..Frame::default()
            };
            with_name(frame, name)
        }
        UserFrame::Ip { ip } => {
            let frame = Frame { ip: Some(format!("{ip:#x}")), ..Frame::default() };
            with_name(frame, names.and_then(|names| names.ips.get(ip)))
        }
    }
}

fn with_name(frame: Frame, name: Option<&user_symbols::Name>) -> Frame {
    let Some(user_symbols::Name { symbol, offset, file }) = name.cloned() else {
        return frame;
    };
    Frame { symbol, offset, file, ..frame }
}
