//! Cgroups: ids and paths, the memcg whose limit was hit, the limits up to the root.

use super::Facts;
use crate::{
    enrich::container,
    model::{
        events::{CgroupPath, Counter, Invocation, Level, Levels, Memcg, Name},
        report::{Cgroup, CgroupOwner, LimitLevel, OomMemcg, OomReport, lossy},
    },
};

/// A limit in bytes, or that there is none.
#[derive(Default)]
struct Limit {
    bytes: Option<u64>,
    none: bool,
}

/// A counter: how full, of how much.
#[derive(Default)]
struct Filling {
    usage: Option<u64>,
    max: Limit,
}

/// `PAGE_COUNTER_MAX` is `LONG_MAX / PAGE_SIZE` pages: "max".
fn limit(facts: Facts<'_>, pages: u64) -> Limit {
    let none = pages >= i64::MAX.unsigned_abs() / facts.host.page_size.max(1);
    Limit { bytes: (!none).then(|| facts.bytes(pages)), none }
}

/// A cgroup by its id.
pub(super) fn cgroup(facts: Facts<'_>, id: u64) -> Cgroup {
    let mut cgroup = Cgroup { id: Some(id.to_string()), ..Cgroup::default() };
    if let Some(path) = facts.account.paths.get(&id) {
        let (text, hex) = lossy(&joined(&path.names));
        cgroup.path = Some(text);
        cgroup.path_hex = hex;
        cgroup.path_truncated = path.truncated;
    } else if let Some(path) = facts.findings.cgroup_paths.get(&id) {
        cgroup.path = Some(path.clone());
    }
    cgroup
}

/// What a cgroup stands for: by its path, with the names that userspace found.
pub(super) fn home(facts: Facts<'_>, cgroup: &Cgroup) -> CgroupOwner {
    let mut home = cgroup.path.as_deref().map(container::cgroup_owner).unwrap_or_default();
    if let Some(container) = &mut home.container {
        let keys = [container.id.clone(), container.pod_uid.clone()];
        for key in keys.iter().flatten() {
            if let Some(names) = facts.findings.containers.get(key) {
                names.fill(container);
            }
        }
    }
    home
}

/// "/" for the root, else each name behind a "/".
fn joined(names: &[Name]) -> Vec<u8> {
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().flat_map(|name| [b"/".as_slice(), &name.0]).flatten().copied().collect()
}

pub(super) fn oom_memcg(facts: Facts<'_>, memcg: &Memcg) -> OomMemcg {
    let [swap, memsw] = swap_and_memsw(facts, memcg.swap);
    let cgroup = memcg.id.map(|id| cgroup(facts, id)).unwrap_or_default();
    let mut report = OomMemcg {
        home: home(facts, &cgroup),
        cgroup,
        swap_usage_bytes: swap.usage,
        swap_max_bytes: swap.max.bytes,
        swap_no_limit: swap.max.none,
        memsw_usage_bytes: memsw.usage,
        memsw_max_bytes: memsw.max.bytes,
        memsw_no_limit: memsw.max.none,
        oom_group: memcg.oom_group,
        ..OomMemcg::default()
    };
    if let Some(memory) = memcg.memory {
        let max = limit(facts, memory.max);
        report.usage_bytes = Some(facts.bytes(memory.usage));
        report.max_bytes = max.bytes;
        report.no_limit = max.none;
    }
    report
}

/// The limits, leaf first, each with its cgroup as far as the path is known.
pub(super) fn limit_chain(
    facts: Facts<'_>,
    levels: &Levels,
    invocation: &Invocation,
) -> Vec<LimitLevel> {
    let path = facts.account.paths.get(&levels.cgroup_id);
    let hit = hit_level(facts, levels, invocation);
    let level = |(index, level): (usize, &Level)| {
        let mut report = limit_level(facts, level);
        report.hit = hit == Some(index);
        let room = report.max_bytes.zip(report.usage_bytes);
        let room = room.map(|(max, usage)| max.saturating_sub(usage));
        report.headroom_bytes = room.filter(|_| !report.hit);
        report.cgroup = level_cgroup(facts, levels, path, index);
        report
    };
    levels.list.iter().enumerate().map(level).collect()
}

/// The counter of kernel memory stands in the chain.
pub(super) fn fill_kmem(report: &mut OomReport) {
    let level = report.limit_chain.iter().flatten().find(|level| level.hit);
    if let (Some(memcg), Some(level)) = (&mut report.oom_memcg, level) {
        memcg.kmem_usage_bytes = level.kmem_usage_bytes;
        memcg.kmem_max_bytes = level.kmem_max_bytes;
        memcg.kmem_no_limit = level.kmem_no_limit;
    }
}

/// Only the first level's id is known; the others' paths are its path's ancestors.
fn level_cgroup(
    facts: Facts<'_>,
    levels: &Levels,
    path: Option<&CgroupPath>,
    index: usize,
) -> Cgroup {
    if index == 0 {
        return cgroup(facts, levels.cgroup_id);
    }
    let known = facts.findings.cgroup_paths.get(&levels.cgroup_id);
    let names = match (path, known) {
        (Some(path), _) if !path.truncated => path.names.clone(),
        (_, Some(known)) => {
            let parts = known.split('/').filter(|part| !part.is_empty());
            parts.map(|part| Name(part.as_bytes().to_vec())).collect()
        }
        _ => return Cgroup::default(),
    };
    let Some(depth) = names.len().checked_sub(index) else {
        return Cgroup::default();
    };
    let (text, hex) = lossy(&joined(names.get(..depth).unwrap_or_default()));
    Cgroup { path: Some(text), path_hex: hex, ..Cgroup::default() }
}

/// The level whose memcg is the oom_memcg: as deep below the first one as its path is shorter.
fn hit_level(facts: Facts<'_>, levels: &Levels, invocation: &Invocation) -> Option<usize> {
    let id = invocation.oom_memcg.as_ref()?.id?;
    if id == levels.cgroup_id {
        return Some(0);
    }
    let depth = |id: &u64| {
        let path = facts.account.paths.get(id).filter(|path| !path.truncated);
        let known = || facts.findings.cgroup_paths.get(id);
        path.map(|path| path.names.len())
            .or_else(|| known().map(|path| path.split('/').filter(|p| !p.is_empty()).count()))
    };
    depth(&levels.cgroup_id)?.checked_sub(depth(&id)?)
}

fn limit_level(facts: Facts<'_>, level: &Level) -> LimitLevel {
    let (max, high) = (limit(facts, level.memory.max), limit(facts, level.high));
    let (low, min) = (limit(facts, level.low), limit(facts, level.min));
    let [swap, memsw] = swap_and_memsw(facts, level.swap);
    // The unified hierarchy has the counter and does not use it.
    let kmem = level.kmem.filter(|_| facts.host.memory_on_v2 == Some(false));
    let kmem_max = kmem.map(|kmem| limit(facts, kmem.max)).unwrap_or_default();
    LimitLevel {
        kmem_usage_bytes: kmem.map(|kmem| facts.bytes(kmem.usage)),
        kmem_max_bytes: kmem_max.bytes,
        kmem_no_limit: kmem_max.none,
        usage_bytes: Some(facts.bytes(level.memory.usage)),
        max_bytes: max.bytes,
        no_limit: max.none,
        high_bytes: high.bytes,
        high_no_limit: high.none,
        low_bytes: low.bytes,
        low_no_limit: low.none,
        min_bytes: min.bytes,
        min_no_limit: min.none,
        swap_usage_bytes: swap.usage,
        swap_max_bytes: swap.max.bytes,
        swap_no_limit: swap.max.none,
        memsw_usage_bytes: memsw.usage,
        memsw_max_bytes: memsw.max.bytes,
        memsw_no_limit: memsw.max.none,
        ..LimitLevel::default()
    }
}

/// The second counter of a memcg is one or the other; where the hierarchy is not known, neither.
fn swap_and_memsw(facts: Facts<'_>, counter: Option<Counter>) -> [Filling; 2] {
    let filling = counter.map(|counter| Filling {
        usage: Some(facts.bytes(counter.usage)),
        max: limit(facts, counter.max),
    });
    let filling = filling.unwrap_or_default();
    match facts.host.memory_on_v2 {
        Some(true) => [filling, Filling::default()],
        Some(false) => [Filling::default(), filling],
        None => Default::default(),
    }
}
