//! Names the functions of growing processes.
//!
//! The processes are running, so their files can be read. One helper process looks up the frames of
//! all of them, and the results are cached.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        names::{FileOffset, Name},
        report::{Frame, GrowthStack},
    },
    symbolize::user::{Process, UserSymbols, files_of},
};

/// Processes whose frames are looked up for one report. The others follow in later reports.
const MAX_PROCESSES: usize = 16;
/// Processes whose addresses (of just-in-time compilers) are looked up for one report. Each needs a
/// helper process of its own.
const MAX_HELPERS: usize = 4;
/// Cached results. Beyond that, the cache is cleared.
const MAX_CACHED: usize = 16_384;

/// Process id, start time of the process in ns (an id may be reused), and address.
type Address = (u32, u64, u64);
/// Start times of processes in ns, by process id.
type Started = BTreeMap<u32, u64>;

/// The cached results; `None` if the lookup found no name.
#[derive(Debug, Default)]
pub(super) struct FunctionNames {
    symbols: UserSymbols,
    offsets: BTreeMap<FileOffset, Option<Name>>,
    addresses: BTreeMap<Address, Option<Name>>,
}

/// The frames of a process that were not looked up yet.
#[derive(Debug, Default)]
struct Unknown {
    offsets: BTreeSet<FileOffset>,
    ips: BTreeSet<u64>,
}

impl FunctionNames {
    /// Names the frames. The first processes come first if not all can be looked up at once.
    pub(super) fn name(&mut self, stacks: &mut [&mut GrowthStack]) {
        let processes = stacks.iter().filter_map(|stack| pid(stack)).map(Process::now);
        self.name_started(stacks, &processes.map(|it| (it.pid, it.started_ns)).collect());
    }

    fn name_started(&mut self, stacks: &mut [&mut GrowthStack], started: &Started) {
        self.look_up(&self.unknown(stacks, started), started);
        for stack in stacks {
            let pid = pid(stack);
            for frame in stack.user_stack.iter_mut().flatten() {
                let known = self.known(pid, frame, started).cloned();
                if let Some(Name { symbol, offset, file }) = known {
                    *frame = Frame { symbol, offset, file, ..std::mem::take(frame) };
                }
            }
        }
    }

    fn unknown(&self, stacks: &[&mut GrowthStack], started: &Started) -> Vec<(u32, Unknown)> {
        let mut processes: Vec<(u32, Unknown)> = Vec::new();
        for stack in stacks {
            let Some(pid) = pid(stack) else { continue };
            let known = processes.iter().position(|(known, _)| *known == pid);
            let index = known.unwrap_or_else(|| {
                processes.push((pid, Unknown::default()));
                processes.len() - 1
            });
            let Some((_, unknown)) = processes.get_mut(index) else { continue };
            for frame in stack.user_stack.iter().flatten() {
                if let Some(offset) = file_offset(frame) {
                    if !self.offsets.contains_key(&offset) {
                        unknown.offsets.insert(offset);
                    }
                } else if let Some(ip) = ip(frame)
                    && !self.addresses.contains_key(&address(pid, ip, started))
                {
                    unknown.ips.insert(ip);
                }
            }
        }
        processes.retain(|(_, unknown)| !unknown.offsets.is_empty() || !unknown.ips.is_empty());
        processes.truncate(MAX_PROCESSES);
        processes
    }

    fn look_up(&mut self, processes: &[(u32, Unknown)], started: &Started) {
        if self.offsets.len() + self.addresses.len() > MAX_CACHED {
            self.offsets.clear();
            self.addresses.clear();
        }
        let unique: BTreeSet<&FileOffset> =
            processes.iter().flat_map(|(_, unknown)| &unknown.offsets).collect();
        let offsets: Vec<FileOffset> = unique.into_iter().cloned().collect();
        if let Some((first, _)) = processes.first().filter(|_| !offsets.is_empty()) {
            for (pid, _) in processes {
                self.symbols.keep_files(files_of(*pid));
            }
            let found = self.symbols.resolve(Process::now(*first), None, &offsets, &[]).offsets;
            self.offsets.extend(offsets.into_iter().map(|offset| (offset, None)));
            self.offsets.extend(found.into_iter().map(|(offset, name)| (offset, Some(name))));
        }
        let with_ips = processes.iter().filter(|(_, unknown)| !unknown.ips.is_empty());
        for (pid, Unknown { ips, .. }) in with_ips.take(MAX_HELPERS) {
            let asked: Vec<u64> = ips.iter().copied().collect();
            let found = self.symbols.resolve(Process::now(*pid), None, &[], &asked).addresses;
            let address = |ip| address(*pid, ip, started);
            self.addresses.extend(asked.into_iter().map(|ip| (address(ip), None)));
            self.addresses.extend(found.into_iter().map(|(ip, name)| (address(ip), Some(name))));
        }
    }

    fn known(&self, pid: Option<u32>, frame: &Frame, started: &Started) -> Option<&Name> {
        match file_offset(frame) {
            Some(offset) => self.offsets.get(&offset)?.as_ref(),
            None => self.addresses.get(&address(pid?, ip(frame)?, started))?.as_ref(),
        }
    }
}

fn address(pid: u32, ip: u64, started: &Started) -> Address {
    (pid, started.get(&pid).copied().unwrap_or_default(), ip)
}

fn pid(stack: &GrowthStack) -> Option<u32> {
    stack.pid.and_then(|pid| u32::try_from(pid).ok())
}

fn file_offset(frame: &Frame) -> Option<FileOffset> {
    Some(FileOffset { build_id: frame.build_id.clone()?, file_offset: frame.file_offset? })
}

fn ip(frame: &Frame) -> Option<u64> {
    u64::from_str_radix(frame.ip.as_deref()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(pid: i32, frames: Vec<Frame>) -> GrowthStack {
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

    /// The test executable has no command to look up symbols, so every lookup fails.
    #[test]
    fn failed_lookup_is_not_repeated() {
        let mut names = FunctionNames::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        let ip = Frame { ip: Some("0x10".to_owned()), ..Frame::default() };
        let mut one = stack(pid, vec![in_file(1), ip.clone()]);
        let mut other = stack(pid, vec![in_file(2), in_file(1)]);
        let stacks = &mut [&mut one, &mut other];
        let process = Process::now(std::process::id());
        let started = [(process.pid, process.started_ns)].into();
        let unknown = names.unknown(stacks, &started);
        assert_eq!(unknown.len(), 1);
        assert_eq!((unknown[0].1.offsets.len(), unknown[0].1.ips.len()), (2, 1));
        names.name(stacks);
        assert!(names.unknown(stacks, &started).is_empty());
        // Another process reuses the id.
        let later = [(process.pid, process.started_ns + 1)].into();
        assert_eq!(names.unknown(stacks, &later)[0].1.ips.len(), 1);
        assert_eq!(one.user_stack, Some(vec![in_file(1), ip]));
    }

    #[test]
    fn file_offset_is_named_for_all_processes_address_for_one() {
        let mut names = FunctionNames::default();
        let name = |symbol: &str| Some(Name { symbol: Some(symbol.to_owned()), ..Name::default() });
        names.offsets.insert(file_offset(&in_file(1)).unwrap(), name("grow"));
        let started = [(7, 100), (8, 100)].into();
        names.addresses.insert((7, 100, 0x10), name("compiled"));
        names.addresses.insert((8, 100, 0x10), None);
        let ip = Frame { ip: Some("0x10".to_owned()), ..Frame::default() };
        let mut one = stack(7, vec![in_file(1), ip.clone()]);
        let mut other = stack(8, vec![in_file(1), ip]);
        names.name_started(&mut [&mut one, &mut other], &started);
        let symbols = |stack: &GrowthStack| {
            let frames = stack.user_stack.clone().unwrap_or_default();
            frames.into_iter().map(|frame| frame.symbol.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(symbols(&one), ["grow", "compiled"]);
        assert_eq!(symbols(&other), ["grow", ""]);
    }
}
