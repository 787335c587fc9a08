//! Who died: one victim in detail, several as a table.

use anstyle::Style;

use super::{Detail, who};
use crate::{
    compose::names,
    fmt::{
        layout::{Block, Section, WIDTH},
        table::{Kind, Table, UNKNOWN},
        units,
    },
    model::report::{OomReport, Victim},
};

const BRIEF_ROWS: usize = 10;

/// Writes the victims.
pub(super) fn write(block: &mut Block, report: &OomReport, detail: Detail) {
    match report.victims.as_slice() {
        [] => {}
        [victim] => write_one(&mut block.section("victim"), victim, detail),
        victims => write_many(block, victims, detail),
    }
}

fn write_one(section: &mut Section<'_>, victim: &Victim, detail: Detail) {
    section.facts(identity(victim));
    who::write(section, &victim.who, detail);
    write_cgroup(section, victim);
    section.facts(memory(victim));
}

fn identity(victim: &Victim) -> impl Iterator<Item = String> {
    let Victim { tid, vpid, uid, who, oom_score_adj, points, .. } = victim;
    let facts = [
        Some(names::victim(victim)),
        tid.map(|tid| format!("thread {tid}")),
        vpid.map(|vpid| format!("pid {vpid} in its namespace")),
        names::user(who, *uid),
        oom_score_adj.map(|adj| format!("oom_score_adj {adj}")),
        points.map(|points| format!("{points} points")),
    ];
    facts.into_iter().flatten()
}

fn memory(victim: &Victim) -> impl Iterator<Item = String> {
    victim.memory().map(|(name, size)| format!("{name} {}", units::bytes(size)))
}

fn write_cgroup(section: &mut Section<'_>, victim: &Victim) {
    if let Some(path) = victim.cgroup.as_ref().and_then(names::cgroup) {
        section.joined(&[path], "", "in ", Style::new());
    }
    section.facts(names::home(&victim.home));
}

fn write_many(block: &mut Block, victims: &[Victim], detail: Detail) {
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
    let mut section = block.section("victims");
    let hidden = victims.len().saturating_sub(detail.rows(BRIEF_ROWS));
    let hidden = (hidden > 0).then(|| format!("{hidden} not shown (-v)"));
    let count = format!("{} processes, > is the chosen one", victims.len());
    section.facts([Some(count), hidden].into_iter().flatten());
    if let Some(chosen) = victims.iter().find(|victim| victim.chosen) {
        who::write(&mut section, &chosen.who, detail);
        write_cgroup(&mut section, chosen);
    }
    block.table(&table.lines(WIDTH));
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
