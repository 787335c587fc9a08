//! Names for the functions in which processes grow. They live, so their files are there; a child looks
//! once into those of all of them, and what it has found is kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        names::{FileOffset, Name},
        report::{Frame, GrowthStack},
    },
    symbolize::user::{Process, UserSymbols, files_of},
};

/// Processes whose files are looked into at a time; the others' come with the next picture.
const MOST_PROCESSES: usize = 16;
/// Processes whose addresses (of just-in-time compilers) are looked up at a time: each takes a child.
const MOST_CHILDREN: usize = 4;
/// What is kept is bounded.
const MOST_KNOWN: usize = 16_384;

/// An address: of whom (an id may be used again: so with its start, ns), and where.
type Address = (u32, u64, u64);
/// When processes were started, ns, by id.
type Started = BTreeMap<u32, u64>;

/// What was looked up; `None` if it has no name.
#[derive(Debug, Default)]
pub(super) struct Names {
    symbols: UserSymbols,
    places: BTreeMap<FileOffset, Option<Name>>,
    addresses: BTreeMap<Address, Option<Name>>,
}

/// What is not known yet of a process.
#[derive(Debug, Default)]
struct New {
    places: BTreeSet<FileOffset>,
    ips: BTreeSet<u64>,
}

impl Names {
    /// Gives the frames their names, those of the first most surely.
    pub(super) fn give(&mut self, growers: &mut [&mut GrowthStack]) {
        let processes = growers.iter().filter_map(|grower| pid(grower)).map(Process::now);
        self.give_to(growers, &processes.map(|it| (it.pid, it.started_ns)).collect());
    }

    fn give_to(&mut self, growers: &mut [&mut GrowthStack], started: &Started) {
        self.learn(&self.new_of(growers, started), started);
        for grower in growers {
            let pid = pid(grower);
            for frame in grower.user_stack.iter_mut().flatten() {
                let known = self.known(pid, frame, started).cloned();
                if let Some(Name { symbol, offset, file }) = known {
                    *frame = Frame { symbol, offset, file, ..std::mem::take(frame) };
                }
            }
        }
    }

    fn new_of(&self, growers: &[&mut GrowthStack], started: &Started) -> Vec<(u32, New)> {
        let mut new: Vec<(u32, New)> = Vec::new();
        for grower in growers {
            let Some(pid) = pid(grower) else { continue };
            let index = new.iter().position(|(known, _)| *known == pid);
            let index = index.unwrap_or_else(|| {
                new.push((pid, New::default()));
                new.len() - 1
            });
            let Some((_, new)) = new.get_mut(index) else { continue };
            for frame in grower.user_stack.iter().flatten() {
                if let Some(place) = place(frame) {
                    if !self.places.contains_key(&place) {
                        new.places.insert(place);
                    }
                } else if let Some(ip) = ip(frame)
                    && !self.addresses.contains_key(&address(pid, ip, started))
                {
                    new.ips.insert(ip);
                }
            }
        }
        new.retain(|(_, new)| !new.places.is_empty() || !new.ips.is_empty());
        new.truncate(MOST_PROCESSES);
        new
    }

    fn learn(&mut self, new: &[(u32, New)], started: &Started) {
        if self.places.len() + self.addresses.len() > MOST_KNOWN {
            self.places.clear();
            self.addresses.clear();
        }
        let places: BTreeSet<&FileOffset> = new.iter().flat_map(|(_, new)| &new.places).collect();
        let places: Vec<FileOffset> = places.into_iter().cloned().collect();
        if let Some((first, _)) = new.first().filter(|_| !places.is_empty()) {
            for (pid, _) in new {
                self.symbols.keep_files(files_of(*pid));
            }
            let found = self.symbols.resolve(Process::now(*first), None, &places, &[]).places;
            self.places.extend(places.into_iter().map(|place| (place, None)));
            self.places.extend(found.into_iter().map(|(place, name)| (place, Some(name))));
        }
        let with_ips = new.iter().filter(|(_, new)| !new.ips.is_empty());
        for (pid, New { ips, .. }) in with_ips.take(MOST_CHILDREN) {
            let asked: Vec<u64> = ips.iter().copied().collect();
            let found = self.symbols.resolve(Process::now(*pid), None, &[], &asked).addresses;
            let address = |ip| address(*pid, ip, started);
            self.addresses.extend(asked.into_iter().map(|ip| (address(ip), None)));
            self.addresses.extend(found.into_iter().map(|(ip, name)| (address(ip), Some(name))));
        }
    }

    fn known(&self, pid: Option<u32>, frame: &Frame, started: &Started) -> Option<&Name> {
        match place(frame) {
            Some(place) => self.places.get(&place)?.as_ref(),
            None => self.addresses.get(&address(pid?, ip(frame)?, started))?.as_ref(),
        }
    }
}

fn address(pid: u32, ip: u64, started: &Started) -> Address {
    (pid, started.get(&pid).copied().unwrap_or_default(), ip)
}

fn pid(grower: &GrowthStack) -> Option<u32> {
    grower.pid.and_then(|pid| u32::try_from(pid).ok())
}

fn place(frame: &Frame) -> Option<FileOffset> {
    Some(FileOffset { build_id: frame.build_id.clone()?, file_offset: frame.file_offset? })
}

fn ip(frame: &Frame) -> Option<u64> {
    u64::from_str_radix(frame.ip.as_deref()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grower(pid: i32, frames: Vec<Frame>) -> GrowthStack {
        GrowthStack {
            bytes: 4096,
            pid: Some(pid),
            comm: None,
            user_stack: Some(frames),
            kernel_stack: None,
        }
    }

    fn in_file(file_offset: u64) -> Frame {
        let build_id = Some("00".to_owned());
        Frame { build_id, file_offset: Some(file_offset), ..Frame::default() }
    }

    /// This test's own executable has no hidden command: nothing is named, and that is kept.
    #[test]
    fn what_has_no_name_is_asked_for_once() {
        let mut names = Names::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        let ip = Frame { ip: Some("0x10".to_owned()), ..Frame::default() };
        let mut one = grower(pid, vec![in_file(1), ip.clone()]);
        let mut other = grower(pid, vec![in_file(2), in_file(1)]);
        let growers = &mut [&mut one, &mut other];
        let process = Process::now(std::process::id());
        let started = [(process.pid, process.started_ns)].into();
        let new = names.new_of(growers, &started);
        assert_eq!(new.len(), 1);
        assert_eq!((new[0].1.places.len(), new[0].1.ips.len()), (2, 1));
        names.give(growers);
        assert!(names.new_of(growers, &started).is_empty());
        // Another one with the same id.
        let later = [(process.pid, process.started_ns + 1)].into();
        assert_eq!(names.new_of(growers, &later)[0].1.ips.len(), 1);
        assert_eq!(one.user_stack, Some(vec![in_file(1), ip]));
    }

    #[test]
    fn a_place_is_the_same_for_all_and_an_address_each_ones_own() {
        let mut names = Names::default();
        let name = |symbol: &str| Some(Name { symbol: Some(symbol.to_owned()), ..Name::default() });
        names.places.insert(place(&in_file(1)).unwrap(), name("grow"));
        let started = [(7, 100), (8, 100)].into();
        names.addresses.insert((7, 100, 0x10), name("compiled"));
        names.addresses.insert((8, 100, 0x10), None);
        let ip = Frame { ip: Some("0x10".to_owned()), ..Frame::default() };
        let mut one = grower(7, vec![in_file(1), ip.clone()]);
        let mut other = grower(8, vec![in_file(1), ip]);
        names.give_to(&mut [&mut one, &mut other], &started);
        let symbols = |grower: &GrowthStack| {
            let frames = grower.user_stack.clone().unwrap_or_default();
            frames.into_iter().map(|frame| frame.symbol.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(symbols(&one), ["grow", "compiled"]);
        assert_eq!(symbols(&other), ["grow", ""]);
    }
}
