//! The limit that was hit: the oom_memcg, and the chain of limits up to the root.

use anstyle::Style;

use super::section;
use crate::{
    compose::names,
    fmt::{
        page::{Page, Section},
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{LimitLevel, OomMemcg, OomReport},
    output::view::{limits, memory},
};

/// Kinds of memory that are shown.
const KINDS: usize = 5;
/// Thousandths below which a kind is not shown.
const HUNDREDTH: u64 = 10;

/// Writes the limits.
pub(super) fn write(block: &mut Page, report: &OomReport) {
    let mut lines = section(block, "limit");
    match &report.oom_memcg {
        Some(memcg) => write_memcg(&mut lines, memcg),
        None => lines.facts(limits::domain(report).map(|domain| format!("no cgroup's: {domain}"))),
    }
    if let Some(below) = limits::below(report) {
        lines.words("", Style::new(), &below);
    }
    let Some(chain) = report.limit_chain.as_deref().filter(|chain| !chain.is_empty()) else {
        return;
    };
    let is_hit = chain.iter().any(|level| level.hit);
    let mark = is_hit.then(|| "> is the level that was hit".to_owned());
    let cut = report.limit_chain_truncated.then(|| "levels above are not recorded".to_owned());
    let what = "all limits up to the root".to_owned();
    lines.facts([Some(what), mark, cut].into_iter().flatten());
    block.table("", &chain_table(chain));
}

fn write_memcg(lines: &mut Section<'_>, memcg: &OomMemcg) {
    let OomMemcg {
        cgroup,
        owner,
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
    let own = if limits::was_raised(memcg) {
        let usage = usage_bytes.map(|usage| format!("{} used; ", units::bytes(usage)));
        Some(format!("{}its limit has been raised to max since", usage.unwrap_or_default()))
    } else {
        filling("", *usage_bytes, *max_bytes, *no_limit)
    };
    let facts = [
        own,
        filling("swap ", *swap_usage_bytes, *swap_max_bytes, *swap_no_limit),
        filling("memory and swap ", *memsw_usage_bytes, *memsw_max_bytes, *memsw_no_limit),
        filling("kernel memory ", *kmem_usage_bytes, *kmem_max_bytes, *kmem_no_limit),
        oom_group.map(|group| format!("oom.group {}", if group { "on" } else { "off" })),
    ];
    lines.facts(facts.into_iter().flatten());
    if let Some(path) = names::cgroup(cgroup) {
        lines.joined("of ", &[path], "", Style::new());
    }
    lines.facts(names::owner(owner));
    if let Some(stat) = stat {
        let stale = stat_is_stale.then(|| "up to 2 s old".to_owned());
        let kinds = memory::largest(&memory::of_stat(stat, *usage_bytes), KINDS, HUNDREDTH);
        lines.facts(kinds.into_iter().chain(stale));
    }
}

/// "498.1 MiB of 512 MiB", as much of it as is known.
fn filling(what: &str, usage: Option<u64>, max: Option<u64>, no_limit: bool) -> Option<String> {
    let text = match (usage.map(units::bytes), names::limit(max, no_limit)) {
        _ if max == Some(0) && usage.unwrap_or(0) == 0 => format!("no {what}allowed"),
        (Some(usage), Some(_)) if no_limit => format!("{what}{usage} (no limit)"),
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
