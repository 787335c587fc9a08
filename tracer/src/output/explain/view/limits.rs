//! Whose limit: every level with how full it was.

use super::permille;
use crate::{
    compose::names,
    fmt::units,
    model::report::{Constraint, LimitLevel, OomReport},
};

/// One level of the chain.
#[derive(Clone, Debug)]
pub(in crate::output::explain) struct Level {
    pub(in crate::output::explain) path: String,
    pub(in crate::output::explain) used: Option<String>,
    /// "512 MiB", "no limit"
    pub(in crate::output::explain) max: Option<String>,
    /// How full it was; of levels without a limit how large beside the largest.
    pub(in crate::output::explain) permille: Option<u64>,
    pub(in crate::output::explain) limited: bool,
    pub(in crate::output::explain) hit: bool,
    /// What else is set: high, low, min, swap.
    pub(in crate::output::explain) rest: Vec<String>,
}

/// The chain, leaf first; of a report without one what is known of the oom_memcg.
pub(in crate::output::explain) fn chain(report: &OomReport) -> Vec<Level> {
    let levels = report.limit_chain.clone().filter(|chain| !chain.is_empty());
    let levels = levels.or_else(|| Some(vec![own(report)?])).unwrap_or_default();
    let largest = levels.iter().filter_map(|level| level.usage_bytes).max().unwrap_or_default();
    levels.iter().map(|level| shown(level, largest)).collect()
}

/// The oom_memcg as a level.
fn own(report: &OomReport) -> Option<LimitLevel> {
    let memcg = report.oom_memcg.as_ref()?;
    Some(LimitLevel {
        cgroup: memcg.cgroup.clone(),
        usage_bytes: memcg.usage_bytes,
        max_bytes: memcg.max_bytes,
        no_limit: memcg.no_limit,
        swap_usage_bytes: memcg.swap_usage_bytes,
        swap_max_bytes: memcg.swap_max_bytes,
        swap_no_limit: memcg.swap_no_limit,
        memsw_usage_bytes: memcg.memsw_usage_bytes,
        memsw_max_bytes: memcg.memsw_max_bytes,
        memsw_no_limit: memcg.memsw_no_limit,
        hit: true,
        ..LimitLevel::default()
    })
}

fn shown(level: &LimitLevel, largest: u64) -> Level {
    let whole = level.max_bytes.filter(|_| !level.no_limit);
    Level {
        path: names::cgroup(&level.cgroup).unwrap_or_else(|| "(path not known)".to_owned()),
        used: level.usage_bytes.map(units::bytes),
        max: names::limit(level.max_bytes, level.no_limit),
        permille: level.usage_bytes.and_then(|used| permille(used, whole.unwrap_or(largest))),
        limited: whole.is_some(),
        hit: level.hit,
        rest: rest(level),
    }
}

fn rest(level: &LimitLevel) -> Vec<String> {
    let size = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0);
    let set = |name: &str, bytes: Option<u64>, all: bool| match (size(bytes), all) {
        (_, true) => Some(format!("{name} all")),
        (Some(bytes), false) => Some(format!("{name} {}", units::bytes(bytes))),
        (None, false) => None,
    };
    let of = |name: &str, used: Option<u64>, max: Option<u64>, no_limit: bool| {
        let bound = max.filter(|max| !no_limit && (*max > 0 || used.is_some_and(|used| used > 0)));
        let used = size(used).or(bound.map(|_| 0))?;
        let max = bound.map(|max| format!(" of {}", units::bytes(max))).unwrap_or_default();
        Some(format!("{name} {}{max}", units::bytes(used)))
    };
    let facts = [
        level.headroom_bytes.map(|left| format!("{} left", units::bytes(left))),
        level.high_bytes.map(|high| format!("high {}", units::bytes(high))),
        set("low", level.low_bytes, level.low_no_limit),
        set("min", level.min_bytes, level.min_no_limit),
        of("swap", level.swap_usage_bytes, level.swap_max_bytes, level.swap_no_limit),
        of("memory and swap", level.memsw_usage_bytes, level.memsw_max_bytes, level.memsw_no_limit),
        of("kernel memory", level.kmem_usage_bytes, level.kmem_max_bytes, level.kmem_no_limit),
    ];
    facts.into_iter().flatten().collect()
}

/// In a sentence: whose limit, or what ran out.
pub(in crate::output::explain) fn owner(report: &OomReport) -> String {
    if let Some(memcg) = &report.oom_memcg {
        let path = names::cgroup(&memcg.cgroup).unwrap_or_else(|| "a cgroup".to_owned());
        let limit = names::limit(memcg.max_bytes, memcg.no_limit);
        let limit = limit.map(|limit| format!(", {limit}")).unwrap_or_default();
        let group =
            if memcg.oom_group == Some(true) { "; memory.oom.group kills all of it" } else { "" };
        return format!("The limit of {path}{limit}{group}.");
    }
    let size = report.totalpages.zip(report.page_size);
    let size = size.map(|(pages, page)| format!(", {}", units::bytes(pages.saturating_mul(page))));
    let size = size.unwrap_or_default();
    match report.constraint {
        Some(Constraint::Memcg) => "A cgroup's limit; which one is not known.".to_owned(),
        Some(Constraint::None) => format!("Nobody's limit: the host's RAM and swap{size}."),
        Some(Constraint::Cpuset) => {
            format!("Nobody's limit: the cpuset's memory nodes and swap{size}.")
        }
        Some(Constraint::MemoryPolicy) => {
            format!("Nobody's limit: the policy's memory nodes and swap{size}.")
        }
        None => "Not known.".to_owned(),
    }
}

/// The host's zones: what was free beside the watermarks.
pub(in crate::output::explain) fn zones(report: &OomReport) -> Vec<[String; 5]> {
    let nodes = report.system.iter().filter_map(|system| system.nodes.as_ref()).flatten();
    let zones = nodes.flat_map(|node| node.zones.iter().map(move |zone| (node.node, zone)));
    zones
        .map(|(node, zone)| {
            let name = format!("node {node} {}", super::safe(&zone.name));
            let [free, min, low, all] =
                [zone.free_bytes, zone.min_bytes, zone.low_bytes, zone.managed_bytes]
                    .map(units::bytes);
            [name, free, min, low, all]
        })
        .collect()
}
