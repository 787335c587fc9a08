//! The victims: a single one in detail, several as a table.

use anstyle::Style;

use super::{Detail, section, who};
use crate::{
    compose::names,
    fmt::{
        page::{Page, Section},
        table::{Kind, Table, UNKNOWN},
        units::{self, count},
    },
    model::report::{OomReport, Victim},
};

const BRIEF_ROWS: usize = 10;

/// Writes the victims.
pub(super) fn write(block: &mut Page, report: &OomReport, detail: Detail) {
    match report.victims.as_slice() {
        [] => {}
        [victim] => write_one(&mut section(block, "victim"), victim, detail),
        victims => write_many(block, victims, report, detail),
    }
}

fn write_one(lines: &mut Section<'_>, victim: &Victim, detail: Detail) {
    lines.facts(identity(victim));
    who::write(lines, &victim.who, true, detail);
    write_cgroup(lines, victim);
    lines.facts(memory(victim));
}

fn identity(victim: &Victim) -> impl Iterator<Item = String> {
    let Victim { tid, vpid, uid, who, oom_score_adj, points, .. } = victim;
    let facts = [
        Some(names::victim(victim)),
        tid.map(|tid| format!("thread {tid}")),
        vpid.map(|vpid| format!("pid {vpid} in its namespace")),
        names::user(who, *uid),
        oom_score_adj.map(|adj| format!("oom_score_adj {adj}")),
        points.map(|points| count(points, "point")),
    ];
    facts.into_iter().flatten()
}

fn memory(victim: &Victim) -> impl Iterator<Item = String> {
    victim.memory().map(|(name, size)| format!("{name} {}", units::bytes(size)))
}

fn write_cgroup(lines: &mut Section<'_>, victim: &Victim) {
    if let Some(path) = victim.cgroup.as_ref().and_then(names::cgroup) {
        lines.joined("in ", &[path], "", Style::new());
    }
    lines.facts(names::owner(&victim.owner));
}

fn write_many(block: &mut Page, victims: &[Victim], report: &OomReport, detail: Detail) {
    let mut table = Table::new(&[
        ("", Kind::Number),
        ("pid", Kind::Number),
        ("comm", Kind::Text),
        ("uid", Kind::Optional(&["0"])),
        ("anon", Kind::Number),
        ("file", Kind::Optional(&["0 B"])),
        ("shmem", Kind::Optional(&["0 B"])),
        ("swap", Kind::Optional(&["0 B"])),
        ("pgtbl", Kind::Optional(&["0 B"])),
        ("adj", Kind::Optional(&["0"])),
    ]);
    for victim in victims.iter().take(detail.rows(BRIEF_ROWS)) {
        let style = if victim.chosen { Style::new().bold() } else { Style::new() };
        table.row(style, cells(victim));
    }
    let mut lines = section(block, "victims");
    let hidden = victims.len().saturating_sub(detail.rows(BRIEF_ROWS));
    let hidden = (hidden > 0).then(|| format!("{hidden} not shown (-v)"));
    let processes = format!("{}, > is the chosen one", count(report.n_victims(), "process"));
    let others = report.n_victims() - victims.len();
    let why = if report.has_unlisted_victims() { "not listed" } else { "without a record" };
    let lost = (others > 0).then(|| format!("{others} {why}"));
    lines.facts([Some(processes), lost, hidden].into_iter().flatten());
    if let Some(chosen) = victims.iter().find(|victim| victim.chosen) {
        who::write(&mut lines, &chosen.who, true, detail);
        write_cgroup(&mut lines, chosen);
    }
    block.table("", &table);
}

fn cells(victim: &Victim) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    let size = |size: Option<u64>| size.map_or_else(unknown, units::bytes);
    let comm = victim.comm.as_deref();
    vec![
        if victim.chosen { ">" } else { "" }.to_owned(),
        victim.pid.to_string(),
        comm.map_or_else(unknown, |comm| names::comm(comm, victim.comm_hex.as_deref())),
        victim.uid.map_or_else(unknown, |uid| uid.to_string()),
        size(victim.anon_rss_bytes),
        size(victim.file_rss_bytes),
        size(victim.shmem_rss_bytes),
        size(victim.swap_bytes),
        size(victim.pgtables_bytes),
        victim.oom_score_adj.map_or_else(unknown, |adj| adj.to_string()),
    ]
}
