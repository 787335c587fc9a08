//! Whose limit was hit: the oom_memcg, and the chain of limits up to the root.

use std::collections::BTreeMap;

use anstyle::Style;

use crate::{
    compose::{memory_kinds, names},
    fmt::{
        layout::{Block, Section, WIDTH},
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{Constraint, LimitLevel, OomMemcg, OomReport},
};

/// Writes the limits.
pub(super) fn write(block: &mut Block, report: &OomReport) {
    let mut section = block.section("limit");
    match &report.oom_memcg {
        Some(memcg) => write_memcg(&mut section, memcg),
        None => section.facts(domain(report)),
    }
    let Some(chain) = report.limit_chain.as_deref().filter(|chain| !chain.is_empty()) else {
        return;
    };
    let is_hit = chain.iter().any(|level| level.hit);
    let mark = is_hit.then(|| "> is the level that was hit".to_owned());
    let cut = report.limit_chain_truncated.then(|| "levels above are not recorded".to_owned());
    let what = "all limits up to the root".to_owned();
    section.facts([Some(what), mark, cut].into_iter().flatten());
    block.table(&chain_table(chain).lines(WIDTH));
}

/// What ran out when it was not a memcg: its size, which is nobody's usage.
fn domain(report: &OomReport) -> Option<String> {
    let size = report.totalpages?.saturating_mul(report.page_size?);
    let what = match report.constraint? {
        Constraint::None => "no cgroup's: the host's RAM and swap",
        Constraint::Cpuset => "no cgroup's: the cpuset's memory nodes and all swap",
        Constraint::MemoryPolicy => "no cgroup's: the policy's memory nodes and all swap",
        Constraint::Memcg => return None,
    };
    Some(format!("{what}, {}", units::bytes(size)))
}

fn write_memcg(section: &mut Section<'_>, memcg: &OomMemcg) {
    let OomMemcg {
        cgroup,
        home,
        usage_bytes,
        max_bytes,
        no_limit,
        swap_usage_bytes,
        swap_max_bytes,
        swap_no_limit,
        memsw_usage_bytes,
        memsw_max_bytes,
        memsw_no_limit,
        kmem_usage_bytes,
        kmem_max_bytes,
        kmem_no_limit,
        oom_group,
        stat,
        stat_is_stale,
    } = memcg;
    let facts = [
        filling("", *usage_bytes, *max_bytes, *no_limit),
        filling("swap ", *swap_usage_bytes, *swap_max_bytes, *swap_no_limit),
        filling("memory and swap ", *memsw_usage_bytes, *memsw_max_bytes, *memsw_no_limit),
        filling("kernel memory ", *kmem_usage_bytes, *kmem_max_bytes, *kmem_no_limit),
        oom_group.map(|group| format!("oom.group {}", if group { "on" } else { "off" })),
    ];
    section.facts(facts.into_iter().flatten());
    if let Some(path) = names::cgroup(cgroup) {
        section.joined(&[path], "", "of ", Style::new());
    }
    section.facts(names::home(home));
    if let Some(stat) = stat {
        let stale = stat_is_stale.then(|| "up to 2 s old".to_owned());
        section.facts(largest(stat).into_iter().chain(stale));
    }
}

/// What the memory was: the kinds that add up to it, the largest first.
fn largest(stat: &BTreeMap<String, u64>) -> Vec<String> {
    /// Below a hundredth of the whole nothing is worth a place.
    const SHARE: u64 = 100;
    const SHOWN: usize = 5;
    let mut sizes = memory_kinds::addends(stat);
    let whole: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    sizes.retain(|(_, bytes)| *bytes > 0 && *bytes >= whole / SHARE);
    let shown = sizes.iter().take(SHOWN);
    shown.map(|(kind, bytes)| format!("{kind} {}", units::bytes(*bytes))).collect()
}

/// "498.1 MiB of 512 MiB", as much of it as is known.
fn filling(what: &str, usage: Option<u64>, max: Option<u64>, no_limit: bool) -> Option<String> {
    let text = match (usage.map(units::bytes), names::limit(max, no_limit)) {
        _ if max == Some(0) && usage.unwrap_or(0) == 0 => format!("no {what}allowed"),
        (Some(usage), Some(_)) if no_limit => format!("{what}{usage}, without limit"),
        (Some(usage), Some(max)) => format!("{what}{usage} of {max}"),
        (Some(usage), None) => format!("{what}{usage}"),
        (None, Some(_)) if no_limit => format!("{what}without limit"),
        (None, Some(max)) => format!("{what}limit {max}"),
        (None, None) => return None,
    };
    Some(text)
}

fn chain_table(chain: &[LimitLevel]) -> Table {
    let mut table = Table::new(&[
        ("", Kind::Number),
        ("used", Kind::Number),
        ("max", Kind::Number),
        ("high", Kind::Optional(&["no limit"])),
        ("low", Kind::Optional(&["0 B"])),
        ("min", Kind::Optional(&["0 B"])),
        ("swap", Kind::Optional(&["0 B"])),
        ("swap max", Kind::Optional(&["no limit", "0 B"])),
        ("memsw", Kind::Optional(&["0 B"])),
        ("memsw max", Kind::Optional(&["no limit"])),
        ("kmem", Kind::Optional(&["0 B"])),
        ("kmem max", Kind::Optional(&["no limit"])),
        ("cgroup", Kind::Text),
    ]);
    for level in chain {
        let style = if level.hit { Style::new().bold() } else { Style::new() };
        table.row(style, cells(level));
    }
    table
}

fn cells(level: &LimitLevel) -> Vec<String> {
    let cell = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let size = |size: Option<u64>| cell(size.map(units::bytes));
    vec![
        if level.hit { ">" } else { "" }.to_owned(),
        size(level.usage_bytes),
        cell(names::limit(level.max_bytes, level.no_limit)),
        cell(names::limit(level.high_bytes, level.high_no_limit)),
        cell(names::limit(level.low_bytes, level.low_no_limit)),
        cell(names::limit(level.min_bytes, level.min_no_limit)),
        size(level.swap_usage_bytes),
        cell(names::limit(level.swap_max_bytes, level.swap_no_limit)),
        size(level.memsw_usage_bytes),
        cell(names::limit(level.memsw_max_bytes, level.memsw_no_limit)),
        size(level.kmem_usage_bytes),
        cell(names::limit(level.kmem_max_bytes, level.kmem_no_limit)),
        cell(names::cgroup(&level.cgroup)),
    ]
}
