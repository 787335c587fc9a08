//! Cgroups: ids and paths, the memcg whose limit was hit, the limits up to the root.

use super::{
    ComposeContext,
    limits::{Filling, Limit},
};
use crate::{
    enrich::container::{self, Maker},
    model::{
        events::{CgroupPath, Counter, Invocation, Level, Levels, Memcg, Name},
        names::cgroup_path,
        report::{Cgroup, CgroupOwner, LimitLevel, OomMemcg, OomReport, lossy},
    },
};

fn limit(context: ComposeContext<'_>, pages: u64) -> Limit {
    Limit::from_pages(pages, context.host.page_size)
}

fn filling(context: ComposeContext<'_>, counter: Counter) -> Filling {
    Filling { usage_bytes: Some(context.bytes(counter.usage)), limit: limit(context, counter.max) }
}

pub(super) fn cgroup(context: ComposeContext<'_>, id: u64) -> Cgroup {
    let mut cgroup = Cgroup { id: Some(id.to_string()), ..Cgroup::default() };
    if let Some(path) = context.account.paths.get(&id) {
        let (text, hex) = lossy(&cgroup_path(&path.names));
        cgroup.path = Some(text);
        cgroup.path_hex = hex;
        cgroup.path_truncated = path.truncated;
    } else if let Some(path) = context.findings.cgroup_paths.get(&id) {
        cgroup.path = Some(path.clone());
    }
    cgroup
}

/// The container, unit or slice that a cgroup belongs to: by its path, with the names that
/// userspace found. Of a path that was cut, only the innermost names are known. Those can have been
/// chosen by the processes there, so they say nothing about the owner.
pub(super) fn owner(context: ComposeContext<'_>, cgroup: &Cgroup) -> CgroupOwner {
    if cgroup.path_truncated {
        return CgroupOwner::default();
    }
    let path = cgroup.path.as_deref().unwrap_or_default();
    let mut owner = container::cgroup_owner(path);
    if let Some(container) = &mut owner.container {
        let directory = container::directory(path, container);
        let maker = container::maker(directory, context.findings);
        container.claimed = maker != Maker::Root;
        for key in container::keys(container, maker) {
            if let Some(names) = context.findings.containers.get(&key) {
                container.fill_from(names);
            }
        }
    }
    owner
}

pub(super) fn oom_memcg(context: ComposeContext<'_>, memcg: &Memcg) -> OomMemcg {
    let [swap, memsw] = swap_and_memsw(context, memcg.swap);
    let memory = memcg.memory.map(|memory| filling(context, memory)).unwrap_or_default();
    let cgroup = memcg.id.map(|id| cgroup(context, id)).unwrap_or_default();
    let mut report = OomMemcg {
        owner: owner(context, &cgroup),
        cgroup,
        oom_group: memcg.oom_group,
        ..OomMemcg::default()
    };
    (report.usage_bytes, report.max_bytes, report.no_limit) = memory.fields();
    (report.swap_usage_bytes, report.swap_max_bytes, report.swap_no_limit) = swap.fields();
    (report.memsw_usage_bytes, report.memsw_max_bytes, report.memsw_no_limit) = memsw.fields();
    report
}

/// The limits up to the root, leaf first; each with its cgroup if the path is known.
pub(super) fn limit_chain(
    context: ComposeContext<'_>,
    levels: &Levels,
    invocation: &Invocation,
) -> Vec<LimitLevel> {
    let path = context.account.paths.get(&levels.cgroup_id);
    let hit = hit_level(context, levels, invocation);
    let level = |(index, level): (usize, &Level)| {
        let mut report = limit_level(context, level);
        report.hit = hit == Some(index);
        let counter = report.max_bytes.zip(report.usage_bytes).filter(|_| !report.hit);
        report.headroom_bytes = counter.map(|(max, usage)| max.saturating_sub(usage));
        report.cgroup = level_cgroup(context, levels, path, index);
        report
    };
    levels.list.iter().enumerate().map(level).collect()
}

/// Copies the counter of kernel memory from the chain of limits.
pub(super) fn fill_kmem(report: &mut OomReport) {
    let level = report.limit_chain.iter().flatten().find(|level| level.hit);
    if let (Some(memcg), Some(level)) = (&mut report.oom_memcg, level) {
        memcg.kmem_usage_bytes = level.kmem_usage_bytes;
        memcg.kmem_max_bytes = level.kmem_max_bytes;
        memcg.kmem_no_limit = level.kmem_no_limit;
    }
}

/// The cgroup of a level. Only the id of the first level is known; the paths of the others are
/// the ancestors of its path.
fn level_cgroup(
    context: ComposeContext<'_>,
    levels: &Levels,
    path: Option<&CgroupPath>,
    index: usize,
) -> Cgroup {
    if index == 0 {
        return cgroup(context, levels.cgroup_id);
    }
    let known = context.findings.cgroup_paths.get(&levels.cgroup_id);
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
    let (text, hex) = lossy(&cgroup_path(names.get(..depth).unwrap_or_default()));
    Cgroup { path: Some(text), path_hex: hex, ..Cgroup::default() }
}

/// The level whose memcg is the oom_memcg: it is as many levels above the first one as its path is
/// shorter.
fn hit_level(
    context: ComposeContext<'_>,
    levels: &Levels,
    invocation: &Invocation,
) -> Option<usize> {
    let id = invocation.oom_memcg.as_ref()?.id?;
    if id == levels.cgroup_id {
        return Some(0);
    }
    let depth = |id: &u64| {
        let path = context.account.paths.get(id).filter(|path| !path.truncated);
        let known = || context.findings.cgroup_paths.get(id);
        path.map(|path| path.names.len())
            .or_else(|| known().map(|path| path.split('/').filter(|p| !p.is_empty()).count()))
    };
    depth(&levels.cgroup_id)?.checked_sub(depth(&id)?)
}

fn limit_level(context: ComposeContext<'_>, level: &Level) -> LimitLevel {
    let [high, low, min] = [level.high, level.low, level.min].map(|pages| limit(context, pages));
    let [swap, memsw] = swap_and_memsw(context, level.swap);
    // The unified hierarchy has the counter and does not use it.
    let used_kmem = level.kmem.filter(|_| context.host.memory_on_v2 == Some(false));
    let kmem = used_kmem.map(|kmem| filling(context, kmem)).unwrap_or_default();
    let mut report = LimitLevel {
        high_bytes: high.bytes,
        high_no_limit: high.is_none,
        low_bytes: low.bytes,
        low_no_limit: low.is_none,
        min_bytes: min.bytes,
        min_no_limit: min.is_none,
        ..LimitLevel::default()
    };
    let memory = filling(context, level.memory);
    (report.usage_bytes, report.max_bytes, report.no_limit) = memory.fields();
    (report.kmem_usage_bytes, report.kmem_max_bytes, report.kmem_no_limit) = kmem.fields();
    (report.swap_usage_bytes, report.swap_max_bytes, report.swap_no_limit) = swap.fields();
    (report.memsw_usage_bytes, report.memsw_max_bytes, report.memsw_no_limit) = memsw.fields();
    report
}

/// The second counter of a memcg is swap on cgroup v2, memory and swap together on v1. Where the
/// hierarchy is not known, it is neither.
fn swap_and_memsw(context: ComposeContext<'_>, counter: Option<Counter>) -> [Filling; 2] {
    let second = counter.map(|counter| filling(context, counter)).unwrap_or_default();
    match context.host.memory_on_v2 {
        Some(true) => [second, Filling::default()],
        Some(false) => [Filling::default(), second],
        None => Default::default(),
    }
}
