//! The host's memory when it ran out: what is free, which zones are short, who has the rest.

use std::{cmp::Reverse, time::Duration};

use anstyle::Style;

use super::Detail;
use crate::{
    fmt::{
        layout::{Block, Section},
        sanitize::sanitize,
        units,
    },
    model::report::{OomReport, System, Zone},
};

/// Zones and consumers that are shown.
const BRIEF: usize = 4;

/// Writes the figures.
pub(super) fn write(block: &mut Block, report: &OomReport, detail: Detail) {
    let Some(system) = &report.system else {
        return;
    };
    let mut section = block.section("system");
    section.facts(free(system));
    write_zones(&mut section, system, detail);
    section.facts(consumers(system, detail));
}

fn free(system: &System) -> impl Iterator<Item = String> {
    let of = |total: Option<u64>| {
        total.map(|total| format!(" of {}", units::bytes(total))).unwrap_or_default()
    };
    let free = system.free_bytes.map(units::bytes);
    let free = free.map(|free| format!("free {free}{}", of(system.total_bytes)));
    let swap = match (system.swap_free_bytes, system.swap_total_bytes) {
        (_, Some(0)) => Some("no swap".to_owned()),
        (Some(free), total) => Some(format!("swap free {}{}", units::bytes(free), of(total))),
        (None, _) => None,
    };
    let age = system.age_ns.map(Duration::from_nanos);
    let age = age.map(|age| format!("read {} later", units::duration(age)));
    [free, swap, age].into_iter().flatten()
}

/// The zones that are short of memory; on demand all of them.
fn write_zones(section: &mut Section<'_>, system: &System, detail: Detail) {
    let nodes = system.nodes.iter().flatten();
    let zones: Vec<(u32, &Zone)> =
        nodes.flat_map(|node| node.zones.iter().map(|zone| (node.node, zone))).collect();
    if zones.is_empty() {
        return;
    }
    let is_short = |zone: &Zone| zone.free_bytes < zone.low_bytes;
    let shown = zones.iter().filter(|(_, zone)| detail == Detail::Full || is_short(zone));
    for (node, zone) in shown.take(detail.rows(BRIEF)) {
        let Zone { name, free_bytes, min_bytes, low_bytes, .. } = zone;
        let under = match free_bytes {
            free if free < min_bytes => ", below min",
            free if free < low_bytes => ", below low",
            _ => "",
        };
        let [free, min, low] = [free_bytes, min_bytes, low_bytes].map(|size| units::bytes(*size));
        let name = sanitize(name.as_bytes());
        let line = format!("node {node} {name}: free {free}, min {min}, low {low}{under}");
        section.joined(&[line], "", "", Style::new());
    }
    let short = zones.iter().filter(|(_, zone)| is_short(zone)).count();
    let more = short.saturating_sub(detail.rows(BRIEF));
    if short == 0 {
        section.facts(["no zone is below its low watermark".to_owned()]);
    } else if more > 0 {
        section.facts([format!("{more} more zones below their low watermark")]);
    }
}

/// Who has the memory, most first.
fn consumers(system: &System, detail: Detail) -> Vec<String> {
    let slab = [system.slab_reclaimable_bytes, system.slab_unreclaimable_bytes];
    let slab = slab.into_iter().sum::<Option<u64>>();
    let mut consumers: Vec<(&str, u64)> = [
        ("anon", system.anon_bytes),
        ("file", system.file_bytes),
        ("shmem", system.shmem_bytes),
        ("slab", slab),
        ("page tables", system.page_tables_bytes),
        ("kernel stacks", system.kernel_stack_bytes),
        ("per-CPU", system.percpu_bytes),
        ("hugetlb", system.hugetlb_bytes),
    ]
    .into_iter()
    .filter_map(|(name, size)| size.filter(|size| *size > 0).map(|size| (name, size)))
    .collect();
    consumers.sort_by_key(|(_, size)| Reverse(*size));
    consumers.truncate(detail.rows(BRIEF));
    consumers.iter().map(|(name, size)| format!("{name} {}", units::bytes(*size))).collect()
}
