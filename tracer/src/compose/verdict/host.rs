//! Shortages of the host: fragmented memory, full nodes, huge pages set aside, or no memory left.

use super::{
    Finding,
    domain::{cgroup_name, percent},
    input::VerdictInput,
    limit,
};
use crate::{
    compose::memory_kinds::total,
    fmt::{sanitize::sanitize, units},
    model::report::{Constraint, Node, Zone},
};

/// `PAGE_ALLOC_COSTLY_ORDER`: an allocation above it fails instead of invoking the OOM killer,
/// unless it must not fail.
const COSTLY_ORDER: i32 = 3;

/// Enough memory was free, but not in one piece.
pub(super) fn fragmentation(input: &VerdictInput<'_>) -> Option<Finding> {
    let order = input.report.trigger.as_ref()?.order.filter(|order| *order > 0)?;
    if !(input.is_shortage() && input.is_global() && input.figures_are_of_the_moment()) {
        return None;
    }
    let request = input.request_bytes()?;
    let has_enough = |zone: &Zone| zone.free_bytes >= zone.low_bytes.saturating_add(request);
    let (node, zone) = main_zones(input).find(|(_, zone)| has_enough(zone))?;
    let size = units::bytes(request);
    let sentence = format!(
        "{} wanted {size} in one piece (order {order}): memory was free, but in smaller pieces",
        input.trigger()
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

/// The largest zone of each node: lower zones keep a reserve that the figures do not show.
fn main_zones<'a>(input: &VerdictInput<'a>) -> impl Iterator<Item = (u32, &'a Zone)> + use<'a> {
    let nodes = input.report.system.iter().filter_map(|system| system.nodes.as_ref()).flatten();
    nodes.filter_map(|node| {
        Some((node.node, node.zones.iter().max_by_key(|zone| zone.managed_bytes)?))
    })
}

/// The nodes that may be used are full.
pub(super) fn node_full(input: &VerdictInput<'_>) -> Option<Finding> {
    let report = input.report;
    let (what, nodes, setting) = match report.constraint? {
        Constraint::Cpuset => ("cpuset", report.mems_allowed.as_deref(), "cpuset.mems"),
        Constraint::MemoryPolicy => {
            ("memory policy", report.nodemask.as_deref(), "its memory policy (numactl)")
        }
        Constraint::None | Constraint::Memcg => return None,
    };
    if !input.is_shortage() {
        return None;
    }
    let allowed = nodes.map(parse_nodes);
    let which = nodes.map(|nodes| format!(" ({})", sanitize(nodes.as_bytes()))).unwrap_or_default();
    let elsewhere = elsewhere(input, allowed.as_deref());
    let trigger = input.trigger();
    let while_free = match &elsewhere {
        Some((free, others)) => {
            format!(", while {} were free on node {others}", units::bytes(*free))
        }
        None => String::new(),
    };
    let sentence =
        format!("the memory nodes that the {what} of {trigger} allows{which} are full{while_free}");
    let is_unknown = elsewhere.is_none() && report.system.is_some();
    let unknown = is_unknown.then(|| {
        "what was free on other nodes at that moment is not known: the figures came later"
            .to_owned()
    });
    let advice = match &elsewhere {
        Some((free, others)) => {
            format!("allow node {others} in {setting}: {} were free there", units::bytes(*free))
        }
        None => format!("allow more nodes in {setting}, or give these less to do"),
    };
    Some(Finding::new(sentence).evidence(unknown).advice([advice]))
}

/// Bytes that were free above the low watermarks of nodes that may not be used, and those nodes.
fn elsewhere(input: &VerdictInput<'_>, allowed: Option<&[u32]>) -> Option<(u64, String)> {
    if !input.figures_are_of_the_moment() {
        return None;
    }
    let (allowed, system) = (allowed?, input.report.system.as_ref()?);
    let nodes = system.nodes.as_ref()?;
    let spare = |node: &Node| {
        total(node.zones.iter().map(|zone| zone.free_bytes.saturating_sub(zone.low_bytes)))
    };
    let is_other = |node: &&Node| !allowed.contains(&node.node) && spare(node) > 0;
    let others: Vec<&Node> = nodes.iter().filter(is_other).collect();
    let free = total(others.iter().map(|node| spare(node)));
    let names: Vec<String> = others.iter().map(|node| node.node.to_string()).collect();
    (free > 0).then(|| (free, names.join(", ")))
}

/// Parses a node list of the kernel, for example "0-1,3".
fn parse_nodes(text: &str) -> Vec<u32> {
    /// `MAX_NUMNODES` is at most this.
    const MAX_NODES: u32 = 1024;
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?.min(MAX_NODES))
    });
    ranges.flatten().collect()
}

/// Most of the RAM is set aside as huge pages.
pub(super) fn hugetlb(input: &VerdictInput<'_>) -> Option<Finding> {
    let aside = input.report.system.as_ref()?.hugetlb_bytes?;
    let total = input.report.system.as_ref()?.total_bytes?;
    if !(input.is_shortage() && input.is_global()) || aside < total.div_ceil(2) {
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

/// The whole host was short of memory.
pub(super) fn short(input: &VerdictInput<'_>) -> Option<Finding> {
    let is_whole = input.report.constraint == Some(Constraint::None);
    if !(input.is_shortage() && is_whole) || fragmentation(input).is_some() {
        return None;
    }
    let ram = |bytes| format!(" ({} of RAM)", units::bytes(bytes));
    let size = input.domain.size_bytes.map(ram).unwrap_or_default();
    let system = input.report.system.as_ref();
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
    let kinds = if input.figures_are_of_the_moment() { limit::kinds(input) } else { None };
    Some(
        Finding::new(sentence)
            .evidence(kinds)
            .evidence(below_watermarks(input))
            .evidence(later.filter(|_| system.is_some()))
            .advice(unlimited(input)),
    )
}

/// How far zones were below their min watermarks: at least that much was missing.
fn below_watermarks(input: &VerdictInput<'_>) -> Option<String> {
    if !input.figures_are_of_the_moment() {
        return None;
    }
    let missing = |(_, zone): (u32, &Zone)| zone.min_bytes.saturating_sub(zone.free_bytes);
    let bytes = total(main_zones(input).map(missing));
    (bytes > 0)
        .then(|| format!("its zones were {} below their min watermarks", units::bytes(bytes)))
}

/// The victim has no limit at all: with one, the shortage would have stayed inside its cgroup.
fn unlimited(input: &VerdictInput<'_>) -> Option<String> {
    let chain = input.report.limit_chain.as_deref()?;
    let leaf = chain.first().filter(|leaf| leaf.cgroup.path.as_deref() != Some("/"))?;
    if input.report.limit_chain_truncated || !chain.iter().all(|level| level.no_limit) {
        return None;
    }
    let usage = units::bytes(leaf.usage_bytes?);
    let name = cgroup_name(&leaf.cgroup)?;
    Some(format!(
        "{name} has no limit and used {usage}: a memory.max below that would have kept the \
         shortage inside it"
    ))
}
