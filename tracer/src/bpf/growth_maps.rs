//! The maps of the growth recorder, read when memory has run out.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{HashMap as BpfHashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray},
    programs::ProgramFd,
};
use oomwhy_common::growth::{self, Charged, Charger, Curve, KernelStack, UserStack};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    bpf::{
        load::{LoadError, Probes, missing_map, other},
        plan::{How, Planned},
    },
    host::proc_file::ProcFile,
    model::recorded_growth::HOOK,
};

/// Those whose size is of no use without a recorder.
const SIZED: [&str; 6] = ["CURVES", CHARGED, "USER_STACKS", "KERNEL_STACKS", "GROWING", "CHARGES"];
/// Where growth is counted.
const CHARGED: &str = "CHARGED";
/// Its entries on a small host: each CPU has entries of its own for a place.
const CHARGERS: u32 = 8192;
/// And for each CPU of a large one, which sets aside half of them (LOCAL_FREE_TARGET of
/// kernel/bpf/bpf_lru_list.c).
const CHARGERS_PER_CPU: u32 = 256;

/// A map whose values are plain numbers.
pub(super) type Words<const KEY: usize, const VALUE: usize> =
    BpfHashMap<MapData, [u64; KEY], [u64; VALUE]>;

/// What the recorder has kept.
pub(crate) struct GrowthMaps {
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

/// Maps that have another size than in the object: as small as can be without a recorder.
pub(super) fn sizes(plan: &[Planned], possible_cpus: u32) -> Vec<(&'static str, u32)> {
    if !plan.iter().any(|planned| planned.hook == HOOK) {
        return SIZED.map(|name| (name, 1)).to_vec();
    }
    vec![(CHARGED, possible_cpus.saturating_mul(CHARGERS_PER_CPU).max(CHARGERS))]
}

impl Probes {
    /// The maps of the recorder, once; `None` where it is not attached.
    pub(crate) fn take_growth(&mut self) -> Result<Option<GrowthMaps>, LoadError> {
        if !self.hooks.contains_key(HOOK) {
            return Ok(None);
        }
        let failed = |error: MapError| other("open the maps of the growth recorder", &error);
        let mut take = |name| self.maps.remove(name).ok_or_else(|| missing_map(name));
        Ok(Some(GrowthMaps {
            curves: hash_map(take("CURVES")?).map_err(failed)?,
            charged: hash_map(take(CHARGED)?).map_err(failed)?,
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
    pub(crate) fn curve(&self, cgroup_id: u64) -> Option<Box<Curve>> {
        let words = self.curves.get(&[cgroup_id], 0).ok()?;
        Curve::read_from_bytes(words.as_bytes()).ok().map(Box::new)
    }

    /// Everything that was charged near a limit. Each key once: where one was pushed out while they were
    /// read, the kernel began anew; who reads what changes must come to an end.
    pub(crate) fn charged(&self) -> Vec<(Charger, Charged)> {
        let most = self.charged.map().info().map_or(CHARGERS, |info| info.max_entries());
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let entries: BTreeMap<_, _> = self.charged.iter().take(most).flatten().collect();
        let entry = |(key, value): ([u64; _], [u64; _])| {
            let key = Charger::read_from_bytes(key.as_bytes()).ok()?;
            Some((key, Charged::read_from_bytes(value.as_bytes()).ok()?))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    /// A user stack by its hash.
    pub(crate) fn user_stack(&self, hash: u64) -> Option<Box<UserStack>> {
        let words = self.user_stacks.get(&[hash], 0).ok()?;
        UserStack::read_from_bytes(words.as_bytes()).ok().map(Box::new)
    }

    /// A kernel stack by its hash.
    pub(crate) fn kernel_stack(&self, hash: u64) -> Option<KernelStack> {
        let words = self.kernel_stacks.get(&[hash], 0).ok()?;
        KernelStack::read_from_bytes(words.as_bytes()).ok()
    }

    /// Entries that were ever new to `CHARGED`, and what found no room at all.
    pub(crate) fn counters(&self) -> (u64, u64) {
        let sum = |counter| self.counters.get(&counter, 0).map_or(0, |cpus| cpus.iter().sum());
        (sum(growth::NEW), sum(growth::DROPPED))
    }

    /// Calls in which the kernel skipped the probe, because it ran on that CPU already
    /// (`recursion_misses`, since 5.12). `None` where the kernel does not count them.
    pub(crate) fn skipped(&self) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_of_a_large_host_has_room_for_its_own_places() {
        let planned = Planned { program: "counts", hook: HOOK, how: How::Fexit };
        let of = |cpus| sizes(&[planned], cpus);
        let sizes_of = [of(0), of(32), of(128)].concat();
        assert_eq!(sizes_of, [8192, 8192, 32_768].map(|entries| ("CHARGED", entries)));
        assert!(sizes(&[], 128).iter().all(|(_, entries)| *entries == 1));
    }
}
