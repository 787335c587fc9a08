//! Memory of the host: there but in pieces, on other nodes, set aside, or simply short.

use super::{
    Finding,
    domain::{percent, place},
    facts::Facts,
    limit,
};
use crate::{
    fmt::{sanitize::sanitize, units},
    model::report::{Constraint, Node, Zone},
};

/// `PAGE_ALLOC_COSTLY_ORDER`: above it an allocation fails rather than kill, unless it may not fail.
const COSTLY_ORDER: i32 = 3;

/// Enough is free, but not in one piece.
pub(super) fn fragmentation(facts: &Facts<'_>) -> Option<Finding> {
    let order = facts.report.trigger.as_ref()?.order.filter(|order| *order > 0)?;
    if !(facts.is_shortage() && facts.is_global() && facts.figures_are_of_the_moment()) {
        return None;
    }
    let request = facts.request_bytes()?;
    let has_enough = |zone: &Zone| zone.free_bytes >= zone.low_bytes.saturating_add(request);
    let (node, zone) = main_zones(facts).find(|(_, zone)| has_enough(zone))?;
    let size = units::bytes(request);
    let sentence = format!(
        "{} wanted {size} in one piece (order {order}): memory was free, but in smaller pieces",
        facts.trigger()
    );
    let free = format!(
        "zone {} of node {node} had {} free, above its low watermark of {}",
        sanitize(zone.name.as_bytes()),
        units::bytes(zone.free_bytes),
        units::bytes(zone.low_bytes)
    );
    let rare = format!("order {order} is above {COSTLY_ORDER}: few allocations kill for that");
    let advice = "compact early: raise vm.watermark_scale_factor or vm.compaction_proactiveness, \
                  or ask for smaller pieces";
    Some(
        Finding::new(sentence)
            .evidence([free])
            .evidence((order > COSTLY_ORDER).then_some(rare))
            .advice([advice.to_owned()]),
    )
}

/// The largest zone of each node: lower ones hold back a reserve that the figures do not show.
fn main_zones<'a>(facts: &Facts<'a>) -> impl Iterator<Item = (u32, &'a Zone)> + use<'a> {
    let nodes = facts.report.system.iter().filter_map(|system| system.nodes.as_ref()).flatten();
    nodes.filter_map(|node| {
        Some((node.node, node.zones.iter().max_by_key(|zone| zone.managed_bytes)?))
    })
}

/// The nodes that may be used are full.
pub(super) fn node_full(facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report;
    let (what, nodes, mend) = match report.constraint? {
        Constraint::Cpuset => ("cpuset", report.mems_allowed.as_deref(), "cpuset.mems"),
        Constraint::MemoryPolicy => {
            ("memory policy", report.nodemask.as_deref(), "its memory policy (numactl)")
        }
        Constraint::None | Constraint::Memcg => return None,
    };
    if !facts.is_shortage() {
        return None;
    }
    let allowed = nodes.map(parse_nodes);
    let which = nodes.map(|nodes| format!(" ({})", sanitize(nodes.as_bytes()))).unwrap_or_default();
    let elsewhere = elsewhere(facts, allowed.as_deref());
    let trigger = facts.trigger();
    let while_free = match &elsewhere {
        Some((free, others)) => {
            format!(", while {} were free on node {others}", units::bytes(*free))
        }
        None => String::new(),
    };
    let sentence =
        format!("the memory nodes that the {what} of {trigger} allows{which} are full{while_free}");
    let unknown = elsewhere.is_none() && report.system.is_some();
    let unknown = unknown.then(|| {
        "what was free on other nodes at that moment is not known: the figures came later"
            .to_owned()
    });
    let advice = match &elsewhere {
        Some((free, others)) => {
            format!("allow node {others} in {mend}: {} were free there", units::bytes(*free))
        }
        None => format!("allow more nodes in {mend}, or give these less to do"),
    };
    Some(Finding::new(sentence).evidence(unknown).advice([advice]))
}

/// What was free on nodes that may not be used, above their low watermarks; and which ones.
fn elsewhere(facts: &Facts<'_>, allowed: Option<&[u32]>) -> Option<(u64, String)> {
    let allowed = allowed?;
    if !facts.figures_are_of_the_moment() {
        return None;
    }
    let nodes = facts.report.system.as_ref()?.nodes.as_ref()?;
    let spare = |node: &Node| {
        let zones = node.zones.iter();
        zones
            .map(|zone| zone.free_bytes.saturating_sub(zone.low_bytes))
            .fold(0, u64::saturating_add)
    };
    let others = nodes.iter().filter(|node| !allowed.contains(&node.node) && spare(node) > 0);
    let others: Vec<&Node> = others.collect();
    let free = others.iter().map(|node| spare(node)).fold(0, u64::saturating_add);
    let names: Vec<String> = others.iter().map(|node| node.node.to_string()).collect();
    (free > 0).then(|| (free, names.join(", ")))
}

/// "0-1,3"
fn parse_nodes(text: &str) -> Vec<u32> {
    /// As many as a kernel can have.
    const MOST: u32 = 1024;
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?.min(MOST))
    });
    ranges.flatten().collect()
}

/// Most of the RAM is set aside as huge pages.
pub(super) fn hugetlb(facts: &Facts<'_>) -> Option<Finding> {
    let aside = facts.report.system.as_ref()?.hugetlb_bytes?;
    let total = facts.report.system.as_ref()?.total_bytes?;
    if !(facts.is_shortage() && facts.is_global()) || aside < total.div_ceil(2) {
        return None;
    }
    let sentence = format!(
        "{} of the host's {} are set aside as huge pages ({}): no kill frees them",
        units::bytes(aside),
        units::bytes(total),
        percent(aside, total)
    );
    Some(Finding::new(sentence).advice(["lower vm.nr_hugepages".to_owned()]))
}

/// The whole host is short.
pub(super) fn short(facts: &Facts<'_>) -> Option<Finding> {
    let is_whole = facts.report.constraint == Some(Constraint::None);
    if !(facts.is_shortage() && is_whole) || fragmentation(facts).is_some() {
        return None;
    }
    let size = facts.domain.size_bytes.map(units::bytes);
    let size = size.map(|size| format!(" ({size} of RAM)")).unwrap_or_default();
    let system = facts.report.system.as_ref();
    let swap = match system.and_then(|system| system.swap_total_bytes) {
        Some(0) => ", without swap",
        Some(_) => " and swap",
        None => "",
    };
    let sentence = format!("the whole host{size} was short of memory{swap}");
    let later = system.and_then(|system| system.age_ns).map(|age| {
        let age = units::duration(std::time::Duration::from_nanos(age));
        format!("the host's figures were read {age} after the OOM killer was entered")
    });
    let kinds = if facts.figures_are_of_the_moment() { limit::kinds(facts) } else { None };
    Some(
        Finding::new(sentence)
            .evidence(kinds)
            .evidence(lacking(facts))
            .evidence(later.filter(|_| system.is_some()))
            .advice(unlimited(facts)),
    )
}

/// How far zones were below their min watermark: what was lacking, at least.
fn lacking(facts: &Facts<'_>) -> Option<String> {
    if !facts.figures_are_of_the_moment() {
        return None;
    }
    let zones = main_zones(facts)
        .map(|(_, zone)| zone.min_bytes.saturating_sub(zone.free_bytes))
        .fold(0, u64::saturating_add);
    (zones > 0)
        .then(|| format!("its zones were {} below their min watermarks", units::bytes(zones)))
}

/// The victim lives under no limit at all: one would have kept the shortage to itself.
fn unlimited(facts: &Facts<'_>) -> Option<String> {
    let chain = facts.report.limit_chain.as_deref()?;
    let leaf = chain.first().filter(|leaf| leaf.cgroup.path.as_deref() != Some("/"))?;
    if facts.report.limit_chain_truncated || !chain.iter().all(|level| level.no_limit) {
        return None;
    }
    let usage = units::bytes(leaf.usage_bytes?);
    let name = place(&leaf.cgroup)?;
    Some(format!(
        "{name} has no limit and used {usage}: a memory.max below that would have kept the shortage \
         inside it"
    ))
}
