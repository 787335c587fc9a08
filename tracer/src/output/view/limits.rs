//! The limits: every level of the chain, and how full it was.

use super::permille;
use crate::{
    compose::names,
    fmt::units,
    model::report::{Constraint, LimitLevel, OomMemcg, OomReport, System, Zone},
};

/// A level of the chain of limits.
#[derive(Clone, Debug)]
pub(crate) struct LimitRow {
    pub(crate) path: String,
    pub(crate) used: Option<String>,
    /// "512 MiB", "no limit"
    pub(crate) max: Option<String>,
    /// How full it was; of levels without a limit how large beside the largest.
    pub(crate) permille: Option<u64>,
    pub(crate) limited: bool,
    pub(crate) hit: bool,
    /// The headroom and the other limits: high, low, min, swap.
    pub(crate) details: Vec<String>,
}

/// The chain, leaf first. A report without one has a single level, the oom_memcg, if it is known.
pub(crate) fn chain(report: &OomReport) -> Vec<LimitRow> {
    let known = report.limit_chain.clone().filter(|chain| !chain.is_empty());
    let levels = known.or_else(|| Some(vec![own(report)?])).unwrap_or_default();
    let largest = levels.iter().filter_map(|level| level.usage_bytes).max().unwrap_or_default();
    levels.iter().map(|level| shown(level, largest)).collect()
}

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

fn shown(level: &LimitLevel, largest: u64) -> LimitRow {
    let whole = level.max_bytes.filter(|_| !level.no_limit);
    LimitRow {
        path: names::cgroup(&level.cgroup).unwrap_or_else(|| "(path not known)".to_owned()),
        used: level.usage_bytes.map(units::bytes),
        max: names::limit(level.max_bytes, level.no_limit),
        permille: level.usage_bytes.and_then(|used| permille(used, whole.unwrap_or(largest))),
        limited: whole.is_some(),
        hit: level.hit,
        details: details(level),
    }
}

fn details(level: &LimitLevel) -> Vec<String> {
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

/// A sentence with the limit that was hit, or with the memory that ran out.
pub(crate) fn owner(report: &OomReport) -> String {
    if let Some(memcg) = &report.oom_memcg {
        let path = names::cgroup(&memcg.cgroup).unwrap_or_else(|| "a cgroup".to_owned());
        if was_raised(memcg) {
            return format!("The limit of {path}, which has been raised to max since.");
        }
        let max = memcg.max_bytes.map(|max| format!(", {}", units::bytes(max)));
        let limit = max.unwrap_or_default();
        let group =
            if memcg.oom_group == Some(true) { "; memory.oom.group kills all of it" } else { "" };
        return format!("The limit of {path}{limit}{group}.");
    }
    match (report.constraint, domain(report)) {
        (Some(Constraint::Memcg), _) => "A cgroup's limit; which one is not known.".to_owned(),
        (Some(_), Some(domain)) => format!("No cgroup's: {domain}."),
        _ => "Not known.".to_owned(),
    }
}

/// Of a report without the chain of limits, as one from the kernel's log: where the victim was, if
/// that is below the cgroup that hit its limit.
pub(crate) fn below(report: &OomReport) -> Option<String> {
    if report.limit_chain.as_ref().is_some_and(|chain| !chain.is_empty()) {
        return None;
    }
    let owner = &report.oom_memcg.as_ref()?.cgroup;
    let chosen = report.victims.iter().find(|victim| victim.chosen);
    let victim = chosen.or_else(|| report.victims.first())?;
    let own = victim.cgroup.as_ref()?;
    if owner.path_truncated || own.path_truncated {
        return None;
    }
    let rest = own.path.as_deref()?.strip_prefix(owner.path.as_deref()?.trim_end_matches('/'))?;
    let is_below = rest.len() > 1 && rest.starts_with('/');
    let sentence = format!(
        "{} is below {}: {} was in it",
        names::cgroup(own)?,
        names::cgroup(owner)?,
        names::victim(victim)
    );
    is_below.then_some(sentence)
}

/// The memory that ran out where no cgroup's limit was hit, with its size.
pub(crate) fn domain(report: &OomReport) -> Option<String> {
    let what = match report.constraint? {
        Constraint::None => "the host's RAM and swap",
        Constraint::Cpuset => "the cpuset's memory nodes and all swap",
        Constraint::MemoryPolicy => "the policy's memory nodes and all swap",
        Constraint::Memcg => return None,
    };
    let pages = report.totalpages.zip(report.page_size);
    let size = pages.map(|(pages, page)| format!(", {}", units::bytes(pages.saturating_mul(page))));
    Some(format!("{what}{}", size.unwrap_or_default()))
}

/// Whether the cgroup that hit its limit has none by now: the report was made after a write of
/// "max" to memory.max. (Of cgroup v1, the limit of memory and swap may have been the one.)
pub(crate) fn was_raised(memcg: &OomMemcg) -> bool {
    memcg.no_limit && memcg.memsw_max_bytes.is_none() && memcg.kmem_max_bytes.is_none()
}

/// A zone of the host's memory: its free memory beside the watermarks.
pub(crate) struct ZoneRow {
    pub(crate) name: String,
    /// Free, min, low, managed.
    pub(crate) sizes: [String; 4],
    /// The watermark that it is below.
    pub(crate) below: Option<&'static str>,
}

pub(crate) fn zones(system: &System) -> Vec<ZoneRow> {
    let nodes = system.nodes.iter().flatten();
    let zones = nodes.flat_map(|node| node.zones.iter().map(move |zone| (node.node, zone)));
    let row = |(node, zone): (u32, &Zone)| {
        let Zone { name, free_bytes, min_bytes, low_bytes, managed_bytes, .. } = zone;
        let below = match free_bytes {
            free if free < min_bytes => Some("min"),
            free if free < low_bytes => Some("low"),
            _ => None,
        };
        let sizes = [free_bytes, min_bytes, low_bytes, managed_bytes].map(|it| units::bytes(*it));
        ZoneRow { name: format!("node {node} {}", super::safe(name)), sizes, below }
    };
    zones.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::below;
    use crate::model::report::{
        Cgroup, LimitLevel, OomMemcg, OomReport, Outcome, Source, Tier, Victim,
    };

    fn report(owner: &str, victim: &str) -> OomReport {
        let cgroup = |path: &str| Cgroup { path: Some(path.to_owned()), ..Cgroup::default() };
        let mut report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Kmsg));
        report.oom_memcg = Some(OomMemcg { cgroup: cgroup(owner), ..OomMemcg::default() });
        report.victims.push(Victim {
            pid: 42,
            comm: Some("java".into()),
            cgroup: Some(cgroup(victim)),
            ..Victim::default()
        });
        report
    }

    #[test]
    fn victim_below_the_limit_is_shown_unless_the_chain_shows_it() {
        let nested = report("/par", "/par/child");
        let words = "/par/child is below /par: java[42] was in it";
        assert_eq!(below(&nested).as_deref(), Some(words));
        for (owner, victim) in [("/par", "/par"), ("/par", "/parent"), ("/par/child", "/par")] {
            assert_eq!(below(&report(owner, victim)), None, "{owner} {victim}");
        }
        assert!(below(&report("/", "/par")).is_some());
        let chained = OomReport { limit_chain: Some(vec![LimitLevel::default()]), ..nested };
        assert_eq!(below(&chained), None);
    }
}
