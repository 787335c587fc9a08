//! The domain that ran out of memory: a memcg or the host, its size, and its kinds of memory.

use crate::{
    compose::{memory_kinds::MemoryKinds, names},
    fmt::{units, width::elide},
    model::report::{Cgroup, Constraint, OomReport},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Domain {
    /// As the subject of a sentence.
    pub(super) name: Option<String>,
    /// memory.max, or the RAM of the host.
    pub(super) size_bytes: Option<u64>,
    /// How much of that it used. The figures of the host are of a later time.
    pub(super) used_bytes: Option<u64>,
    /// Memory and swap together.
    pub(super) with_swap_bytes: Option<u64>,
    pub(super) kinds: MemoryKinds,
    pub(super) is_memcg: bool,
}

impl Domain {
    pub(super) fn of(report: &OomReport) -> Self {
        match (&report.oom_memcg, report.constraint) {
            (Some(_), _) | (None, Some(Constraint::Memcg)) => Self::memcg(report),
            (None, Some(constraint)) => Self::host(report, constraint),
            (None, None) => Self::default(),
        }
    }

    fn memcg(report: &OomReport) -> Self {
        let memcg = report.oom_memcg.as_ref();
        let usage = memcg.and_then(|memcg| memcg.usage_bytes);
        let swapped = memcg.and_then(|memcg| {
            let v1 =
                memcg.memsw_usage_bytes.zip(usage).map(|(both, memory)| both - memory.min(both));
            memcg.swap_usage_bytes.or(v1)
        });
        Self {
            name: memcg.and_then(|memcg| cgroup_name(&memcg.cgroup)),
            size_bytes: memcg.and_then(|memcg| memcg.max_bytes),
            used_bytes: usage,
            with_swap_bytes: usage.map(|usage| usage.saturating_add(swapped.unwrap_or_default())),
            kinds: MemoryKinds::of_memcg(report),
            is_memcg: true,
        }
    }

    fn host(report: &OomReport, constraint: Constraint) -> Self {
        let system = report.system.as_ref();
        let total = system.and_then(|system| system.total_bytes);
        let pages =
            report.totalpages.zip(report.page_size).map(|(pages, size)| pages.saturating_mul(size));
        let is_whole = constraint == Constraint::None;
        let size = total.filter(|_| is_whole).or(pages);
        Self {
            name: Some(if is_whole { "the host" } else { "the memory nodes" }.to_owned()),
            size_bytes: size,
            used_bytes: total
                .zip(system.and_then(|system| system.free_bytes))
                .map(|(total, free)| total.saturating_sub(free)),
            with_swap_bytes: pages.or(size),
            kinds: MemoryKinds::of_host(report),
            is_memcg: false,
        }
    }

    /// "/pod used 64 MiB of 64 MiB", or as much of it as is known. `None` for the host: its figures
    /// are of a later time.
    pub(super) fn filling(&self) -> Option<String> {
        let name = self.name.as_deref().filter(|_| self.is_memcg)?;
        let size = self.size_bytes.map(units::bytes);
        match (self.used_bytes.map(units::bytes), size) {
            (Some(used), Some(size)) => Some(format!("{name} used {used} of {size}")),
            (Some(used), None) => Some(format!("{name} used {used}")),
            (None, Some(size)) => Some(format!("{name} has {size}")),
            (None, None) => None,
        }
    }

    /// The whole that shares refer to: the usage of a memcg, the size of the host.
    pub(super) fn whole(&self) -> Option<u64> {
        let whole =
            if self.is_memcg { self.used_bytes.or(self.size_bytes) } else { self.size_bytes };
        whole.filter(|whole| *whole > 0)
    }

    /// "its memory was anon 63.9 MiB (99 %), ...": kinds of at least a hundredth, the largest
    /// first.
    pub(super) fn memory_shares(&self) -> Option<String> {
        let (kinds, whole) = (&self.kinds, self.whole()?);
        let named = [
            ("anon", kinds.anon),
            ("tmpfs and shared memory", kinds.shmem),
            ("page cache", kinds.cache),
            ("kernel", kinds.kernel),
        ];
        let mut known: Vec<(&str, u64)> =
            named.into_iter().filter_map(|(name, size)| Some((name, size?))).collect();
        known.retain(|(_, size)| *size > 0 && *size >= whole / 100);
        known.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let share = |(name, size): &(&str, u64)| {
            format!("{name} {} ({})", units::bytes(*size), percent(*size, whole))
        };
        let shares: Vec<String> = known.iter().map(share).collect();
        (!shares.is_empty()).then(|| format!("its memory was {}", shares.join(", ")))
    }

    /// Whether this is at least half of the domain's memory.
    pub(super) fn is_mostly(&self, bytes: u64) -> bool {
        self.whole().is_some_and(|whole| bytes >= whole.div_ceil(2))
    }
}

/// A cgroup's path in a sentence. A long one loses its middle; the report has all of it.
pub(super) fn cgroup_name(cgroup: &Cgroup) -> Option<String> {
    const COLUMNS: usize = 60;
    names::cgroup(cgroup).map(|path| elide(&path, COLUMNS))
}

/// Formats a share as "64 %", below 10 % with one decimal.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth} %"),
        (whole, _) => format!("{whole} %"),
    }
}
