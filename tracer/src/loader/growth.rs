//! The maps of the growth recorder, read when memory has run out.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray},
    programs::ProgramFd,
};
use oomwhy_common::growth::{self, Charged, Charger, Curve, KernelStack, UserStack};
use zerocopy::{FromBytes, IntoBytes};

use super::{LoadError, Probes, missing_map, other};
use crate::{
    growth::HOOK,
    kernel::plan::{How, Plan, Planned},
    proc_file::ProcFile,
};

/// Those whose size is of no use without a recorder.
const SIZED: [&str; 6] =
    ["CURVES", "CHARGED", "USER_STACKS", "KERNEL_STACKS", "GROWERS", "CHARGES"];
/// Entries of `CHARGED`: who reads it while it changes must come to an end.
const MOST_CHARGERS: usize = 8192;

/// A map whose values are plain numbers.
pub(super) type Words<const KEY: usize, const VALUE: usize> =
    BpfHashMap<MapData, [u64; KEY], [u64; VALUE]>;

/// What the recorder has kept.
pub struct GrowthMaps {
    pub(super) curves: Words<1, { size_of::<Curve>() / 8 }>,
    pub(super) charged: Words<{ size_of::<Charger>() / 8 }, { size_of::<Charged>() / 8 }>,
    pub(super) user_stacks: Words<1, { size_of::<UserStack>() / 8 }>,
    pub(super) kernel_stacks: Words<1, { size_of::<KernelStack>() / 8 }>,
    pub(super) counters: PerCpuArray<MapData, u64>,
    /// Of its own process.
    pub(super) program: Option<ProgramFd>,
}

/// The program that counts, before its object is given up.
pub(super) fn program(ebpf: &Ebpf, plan: &[Planned]) -> Option<ProgramFd> {
    let counts = |planned: &&Planned| planned.hook == HOOK && planned.how != How::Kprobe;
    let name = plan.iter().find(counts)?.program;
    ebpf.program(name)?.fd().ok()?.try_clone().ok()
}

/// Maps that are as small as can be, without a recorder.
pub(super) fn unused(plan: &Plan) -> &'static [&'static str] {
    if plan.programs.iter().any(|planned| planned.hook == HOOK) { &[] } else { &SIZED }
}

impl Probes {
    /// The maps of the recorder, once; `None` where it is not attached.
    pub fn take_growth(&mut self) -> Result<Option<GrowthMaps>, LoadError> {
        if !self.hooks.contains_key(HOOK) {
            return Ok(None);
        }
        let failed = |error: MapError| other("open the maps of the growth recorder", &error);
        let mut take = |name| self.maps.remove(name).ok_or_else(|| missing_map(name));
        Ok(Some(GrowthMaps {
            curves: hash_map(take("CURVES")?).map_err(failed)?,
            charged: hash_map(take("CHARGED")?).map_err(failed)?,
            user_stacks: hash_map(take("USER_STACKS")?).map_err(failed)?,
            kernel_stacks: hash_map(take("KERNEL_STACKS")?).map_err(failed)?,
            counters: take("GROWTH_COUNTERS")?.try_into().map_err(failed)?,
            program: self.growth.take(),
        }))
    }
}

fn hash_map<const KEY: usize, const VALUE: usize>(map: Map) -> Result<Words<KEY, VALUE>, MapError> {
    map.try_into()
}

impl GrowthMaps {
    /// The usage of a cgroup over time.
    pub fn curve(&self, cgroup_id: u64) -> Option<Box<Curve>> {
        let words = self.curves.get(&[cgroup_id], 0).ok()?;
        Curve::read_from_bytes(words.as_bytes()).ok().map(Box::new)
    }

    /// Everything that was charged near a limit. Each key once: where one was pushed out while they were
    /// read, the kernel began anew.
    pub fn charged(&self) -> Vec<(Charger, Charged)> {
        let entries: BTreeMap<_, _> = self.charged.iter().take(MOST_CHARGERS).flatten().collect();
        let entry = |(key, value): ([u64; _], [u64; _])| {
            let key = Charger::read_from_bytes(key.as_bytes()).ok()?;
            Some((key, Charged::read_from_bytes(value.as_bytes()).ok()?))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    /// A user stack by its hash.
    pub fn user_stack(&self, hash: u64) -> Option<Box<UserStack>> {
        let words = self.user_stacks.get(&[hash], 0).ok()?;
        UserStack::read_from_bytes(words.as_bytes()).ok().map(Box::new)
    }

    /// A kernel stack by its hash.
    pub fn kernel_stack(&self, hash: u64) -> Option<KernelStack> {
        let words = self.kernel_stacks.get(&[hash], 0).ok()?;
        KernelStack::read_from_bytes(words.as_bytes()).ok()
    }

    /// Entries that were ever new to `CHARGED`, and what found no room at all.
    pub fn counters(&self) -> (u64, u64) {
        let sum = |counter| self.counters.get(&counter, 0).map_or(0, |cpus| cpus.iter().sum());
        (sum(growth::NEW), sum(growth::DROPPED))
    }

    /// Calls in which the kernel skipped the probe, because it ran on that CPU already
    /// (`recursion_misses`, since 5.12). `None` where the kernel does not count them.
    pub fn skipped(&self) -> Option<u64> {
        let program = self.program.as_ref()?.as_fd().as_raw_fd();
        let path = format!("/proc/self/fdinfo/{program}");
        let mut skipped = None;
        let see = |line: &str| match line.strip_prefix("recursion_misses:") {
            Some(count) => {
                skipped = count.trim().parse().ok();
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        };
        ProcFile::open(Path::new(&path)).ok()?.lines(see).ok()?;
        skipped
    }
}
