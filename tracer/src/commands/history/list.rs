//! `oomwhy list`: one line per stored report, or per kind of kill.

use std::io::{self, Write};

use anstream::AutoStream;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{Failure, find, write_lines};
use crate::{
    cli::{ListArgs, ListFormat},
    commands::output_file::{Used, open_output},
    fmt::width,
    history::{
        group::{self, RepeatedKill},
        scan::{FoundRecord, History},
    },
    output::text::list::{Layout, groups, records},
};

pub(in crate::commands) fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let (history, found) = find(&arguments.dir.dir, &arguments.select, arguments.quiet)?;
    let out = open_output(&arguments.to, &[Used::History(&arguments.dir.dir)])?;
    let result = if arguments.group {
        list_groups(arguments, found, out)
    } else {
        list_records(arguments, &history, &found, out)
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

fn list_records(
    arguments: &ListArgs,
    history: &History,
    found: &[FoundRecord],
    out: Box<dyn Write>,
) -> io::Result<()> {
    match arguments.output {
        ListFormat::Table => {
            let summaries = found.iter().map(|found| &found.summary);
            write_table(&records(summaries, &layout(arguments)), arguments, out)
        }
        format => write_lines(history, found, format == ListFormat::Json, out),
    }
}

fn list_groups(
    arguments: &ListArgs,
    mut found: Vec<FoundRecord>,
    mut out: Box<dyn Write>,
) -> io::Result<()> {
    // An interval is computed from the oldest kill to the newest, whatever the order of the list.
    if arguments.select.reverse {
        found.reverse();
    }
    let mut all = group::group(found);
    if arguments.select.reverse {
        all.reverse();
    }
    match arguments.output {
        ListFormat::Table => write_table(&groups(&all, &layout(arguments)), arguments, out),
        ListFormat::Json => {
            let lines: Vec<GroupLine<'_>> = all.iter().map(GroupLine::of).collect();
            writeln!(out, "{}", serde_json::to_string(&lines)?)
        }
        ListFormat::Jsonl => all.iter().try_for_each(|group| {
            writeln!(out, "{}", serde_json::to_string(&GroupLine::of(group))?)
        }),
    }
}

/// A group as JSON. Unknown values are absent.
#[derive(Serialize)]
struct GroupLine<'a> {
    fingerprint: &'a str,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
    /// Median time between two kills, if they are regular.
    #[serde(skip_serializing_if = "Option::is_none")]
    every_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_id: Option<&'a str>,
}

impl<'a> GroupLine<'a> {
    fn of(group: &'a RepeatedKill) -> Self {
        Self {
            fingerprint: &group.fingerprint,
            count: group.count,
            first: group.times.first().copied(),
            last: group.times.last().copied(),
            every_s: group.interval(),
            latest_id: group.latest.summary.id.as_deref(),
        }
    }
}

fn layout(arguments: &ListArgs) -> Layout {
    // A file or a pipe takes lines of any length.
    let width = arguments.to.path().is_none().then(|| width::terminal(io::stdout())).flatten();
    Layout { zone: TimeZone::system(), width, has_legend: !arguments.no_legend }
}

fn write_table(text: &str, arguments: &ListArgs, out: Box<dyn Write>) -> io::Result<()> {
    let mut out = AutoStream::new(out, arguments.color.choice(&arguments.to));
    out.write_all(text.as_bytes())?;
    out.flush()
}
