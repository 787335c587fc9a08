//! The history as a table: a line for each record, or for each kind of kill.

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};

use super::headline::ALARM;
use crate::{
    compose::names,
    fmt::{
        lines::Lines,
        sanitize::sanitize,
        table::{Kind, Table, UNKNOWN},
        units::{self, count},
    },
    history::{
        group::RepeatedKill,
        short_id::short_id,
        summary::{Container, Memcg, Summary, Task},
    },
    model::report::Cgroup,
};

/// Digits of a container's id that are shown, as Docker has it.
const ID_DIGITS: usize = 12;

/// How a list is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Times are shown in this zone.
    pub zone: TimeZone,
    /// Columns of the terminal, if it is one.
    pub width: Option<usize>,
    /// Whether the titles are shown.
    pub has_legend: bool,
}

/// A line for each record.
pub(crate) fn records<'a>(records: impl Iterator<Item = &'a Summary>, layout: &Layout) -> Lines {
    let mut table = Table::new(&[
        ("TIME", Kind::Word),
        ("ID", Kind::Word),
        ("VICTIM", Kind::Word),
        ("PID", Kind::Number),
        ("LIMIT-OWNER", Kind::Text),
        ("CONTAINER", Kind::Word),
        ("USAGE/MAX", Kind::Number),
        ("CAUSE", Kind::Word),
    ]);
    for record in records {
        let pid = record.victim().map(|victim| victim.pid.to_string());
        let cells = [
            time(record.time(), layout),
            record.id.as_deref().map(short_id),
            Some(victim(record)),
            pid,
            owner(record),
            container(record),
            usage(record),
            cause(record),
        ];
        table.row(style(record), cells.map(or_unknown).to_vec());
    }
    text(&table, layout)
}

/// A line for each kind of kill.
pub(crate) fn groups(groups: &[RepeatedKill], layout: &Layout) -> Lines {
    let mut table = Table::new(&[
        ("LATEST", Kind::Word),
        ("ID", Kind::Word),
        ("VICTIM", Kind::Word),
        ("LIMIT-OWNER", Kind::Text),
        ("CONTAINER", Kind::Word),
        ("CAUSE", Kind::Word),
        ("TIMES", Kind::Word),
    ]);
    for group in groups {
        let latest = &group.latest.summary;
        let cells = [
            time(latest.time(), layout),
            latest.id.as_deref().map(short_id),
            latest.victim().map(name),
            owner(latest),
            container(latest),
            cause(latest),
            Some(group.rhythm()),
        ];
        table.row(Style::new(), cells.map(or_unknown).to_vec());
    }
    text(&table, layout)
}

/// One record in a few words: for a choice among several.
pub(crate) fn brief(record: &Summary, zone: &TimeZone) -> String {
    let layout = Layout { zone: zone.clone(), width: None, has_legend: false };
    let id = record.id.as_deref().map(short_id);
    let pid = record.victim().map(|victim| format!("pid {}", victim.pid));
    let parts = [id, time(record.time(), &layout), Some(victim(record)), pid, owner(record)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn text(table: &Table, layout: &Layout) -> Lines {
    let n_titles = usize::from(!layout.has_legend);
    let mut lines = Lines::default();
    for (style, line) in table.lines(layout.width.unwrap_or(usize::MAX)).into_iter().skip(n_titles)
    {
        lines.line(style, line);
    }
    lines
}

fn or_unknown(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn style(record: &Summary) -> Style {
    match record.kind.as_str() {
        "oom" if record.victims.is_empty() => Style::new().dimmed(),
        "oom" => Style::new(),
        "gap" => ALARM,
        _ => AnsiColor::Yellow.on_default(),
    }
}

fn time(time: Option<Timestamp>, layout: &Layout) -> Option<String> {
    let local = time?.to_zoned_datetime(layout.zone.clone());
    Some(local.strftime("%F %T").to_string())
}

fn victim(record: &Summary) -> String {
    let others = record.victims.len().saturating_sub(1);
    match record.victim() {
        Some(victim) if others > 0 => format!("{} +{others}", name(victim)),
        Some(victim) => name(victim),
        None if record.kind == "oom" => {
            format!("({})", sanitize(record.outcome.as_deref().unwrap_or(UNKNOWN).as_bytes()))
        }
        None => format!("({})", record.kind),
    }
}

fn name(task: &Task) -> String {
    let comm = task.comm.as_deref();
    comm.map_or_else(|| UNKNOWN.to_owned(), |comm| names::comm(comm, task.comm_hex.as_deref()))
}

fn owner(record: &Summary) -> Option<String> {
    match &record.oom_memcg {
        Some(memcg) => path(memcg),
        None if record.constraint.as_deref() == Some("memcg") => None,
        None => record.constraint.as_ref().map(|_| "(host)".to_owned()),
    }
}

fn path(memcg: &Memcg) -> Option<String> {
    let Memcg { path, path_hex, path_truncated, .. } = memcg.clone();
    names::cgroup(&Cgroup { path, path_hex, path_truncated, ..Cgroup::default() })
}

/// The usual name of the victim's container: pod and container, else one of them, else its id.
fn container(record: &Summary) -> Option<String> {
    let Container { id, name, pod, .. } = record.victim()?.container.as_ref()?;
    let id = || Some(id.as_deref()?.chars().take(ID_DIGITS).collect::<String>());
    let text = match (pod, name) {
        (Some(pod), Some(name)) => format!("{pod}/{name}"),
        (None, Some(name)) => name.clone(),
        (Some(pod), None) => pod.clone(),
        (None, None) => id()?,
    };
    Some(sanitize(text.as_bytes()))
}

fn usage(record: &Summary) -> Option<String> {
    let Memcg { usage_bytes, max_bytes, no_limit, .. } = record.oom_memcg.as_ref()?;
    let max = names::limit(*max_bytes, *no_limit)?;
    Some(format!("{}/{max}", units::bytes((*usage_bytes)?)))
}

fn cause(record: &Summary) -> Option<String> {
    let cause = || Some(sanitize(record.verdict.as_ref()?.cause.as_bytes()));
    match record.kind.as_str() {
        "gap" => Some(format!("{} of {} kills seen", record.seen, record.expected)),
        "loss" => Some(format!("{} lost", count(record.count, "kernel-side record"))),
        _ => cause(),
    }
}

#[cfg(test)]
mod tests;
