//! The maps of the growth recorder. They are read when memory has run out.

use std::collections::BTreeMap;

use aya::{
    maps::{HashMap as BpfHashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray},
    programs::ProgramFd,
};
use oomwhy_common::growth::{self, Charged, Charger, Curve, KernelStack, UserStack};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    bpf::{
        hooks::ProgramKind,
        load::{LoadError, Probes, missing_map, other},
        misses::{self, Programs},
        plan::Planned,
    },
    model::hook::Hook,
};

const HOOK: Hook = Hook::PageCounterTryCharge;
/// Maps that have one entry if there is no recorder.
const SIZED: [&str; 7] =
    ["CURVES", CHARGED, "USER_STACKS", "KERNEL_STACKS", "GROWING", "CHARGES", SCRATCH];
const CHARGED: &str = "CHARGED";
/// It has one entry per CPU.
const SCRATCH: &str = "SCRATCH";
/// Entries of `CHARGED` on a small host. Each CPU has its own entries for a stack.
const CHARGERS: u32 = 8192;
/// Entries per CPU of a large host, which reserves half of them (LOCAL_FREE_TARGET in
/// kernel/bpf/bpf_lru_list.c).
const CHARGERS_PER_CPU: u32 = 256;

/// A map whose values are plain numbers.
pub(super) type Words<const KEY: usize, const VALUE: usize> =
    BpfHashMap<MapData, [u64; KEY], [u64; VALUE]>;

pub(crate) struct GrowthMaps {
    pub(super) curves: Words<1, { size_of::<Curve>() / 8 }>,
    pub(super) charged: Words<{ size_of::<Charger>() / 8 }, { size_of::<Charged>() / 8 }>,
    pub(super) user_stacks: Words<1, { size_of::<UserStack>() / 8 }>,
    pub(super) kernel_stacks: Words<1, { size_of::<KernelStack>() / 8 }>,
    pub(super) counters: PerCpuArray<MapData, u64>,
    /// The counting program, if this process attached it or may look up pinned programs.
    pub(super) program: Option<ProgramFd>,
}

/// The program that counts, among these.
pub(super) fn counting(programs: &Programs) -> Option<ProgramFd> {
    let of_hook = HOOK.spec().programs.iter();
    let mut names = of_hook.filter(|it| it.kind != ProgramKind::Kprobe).map(|it| it.name);
    let program = names.find_map(|name| programs.iter().find(|(known, _)| known == name))?;
    program.1.try_clone().ok()
}

/// Maps whose size is not that of the object.
pub(super) fn sizes(plan: &[Planned], possible_cpus: u32) -> Vec<(&'static str, u32)> {
    if !plan.iter().any(|planned| planned.hook == HOOK) {
        return SIZED.map(|name| (name, 1)).to_vec();
    }
    vec![
        (CHARGED, possible_cpus.saturating_mul(CHARGERS_PER_CPU).max(CHARGERS)),
        (SCRATCH, possible_cpus.max(1)),
    ]
}

impl Probes {
    /// Takes the maps of the recorder; succeeds once. `None` if it is not attached.
    pub(crate) fn take_growth(&mut self) -> Result<Option<GrowthMaps>, LoadError> {
        if !self.hooks.contains_key(HOOK.key()) {
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

    /// Everything that was charged near a limit, each key once. If a key is evicted during the
    /// reading, the kernel starts again from the beginning, so the number of steps is bounded.
    pub(crate) fn charged(&self) -> Vec<(Charger, Charged)> {
        let entries = self.charged.map().info().map_or(CHARGERS, |info| info.max_entries());
        let max_steps = usize::try_from(entries).unwrap_or(usize::MAX);
        let entries: BTreeMap<_, _> = self.charged.iter().take(max_steps).flatten().collect();
        let entry = |(key, value): ([u64; _], [u64; _])| {
            let key = Charger::read_from_bytes(key.as_bytes()).ok()?;
            Some((key, Charged::read_from_bytes(value.as_bytes()).ok()?))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    pub(crate) fn user_stack(&self, hash: u64) -> Option<Box<UserStack>> {
        let words = self.user_stacks.get(&[hash], 0).ok()?;
        UserStack::read_from_bytes(words.as_bytes()).ok().map(Box::new)
    }

    pub(crate) fn kernel_stack(&self, hash: u64) -> Option<KernelStack> {
        let words = self.kernel_stacks.get(&[hash], 0).ok()?;
        KernelStack::read_from_bytes(words.as_bytes()).ok()
    }

    /// The number of entries that were ever added to `CHARGED`, and of those without room.
    pub(crate) fn counters(&self) -> (u64, u64) {
        let sum = |counter| self.counters.get(&counter, 0).map_or(0, |cpus| cpus.iter().sum());
        (sum(growth::NEW), sum(growth::DROPPED))
    }

    /// Calls in which the kernel skipped the probe because it was running on that CPU already
    /// (`recursion_misses`, since 5.12). `None` if the kernel does not count them.
    pub(crate) fn skipped(&self) -> Option<u64> {
        misses::skipped(self.program.as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_recorder_grow_with_the_number_of_cpus() {
        let planned = Planned { program: "counts", hook: HOOK, kind: ProgramKind::Fexit };
        let of = |cpus| sizes(&[planned], cpus);
        for (cpus, charged, scratch) in [(0, 8192, 1), (32, 8192, 32), (128, 32_768, 128)] {
            assert_eq!(of(cpus), [("CHARGED", charged), ("SCRATCH", scratch)]);
        }
        assert!(sizes(&[], 128).iter().all(|(_, entries)| *entries == 1));
    }
}
