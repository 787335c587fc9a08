//! `oomwhy list`: one line per stored report, or per kind of kill.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{Failure, find, write_lines};
use crate::{
    cli::{ListArgs, ListFormat},
    commands::output_file::{Output, Used, open_output},
    fmt::{
        lines::{Lines, TextOut},
        width,
    },
    history::{
        group::{self, RepeatedKill},
        scan::FoundRecord,
        summary::Summary,
    },
    output::text::list::{Layout, groups, records},
};

pub(in crate::commands) fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let as_array = match arguments.output {
        _ if arguments.group => None,
        ListFormat::Table => None,
        format => Some(format == ListFormat::Json),
    };
    let (directory, select) = (&arguments.dir.dir, &arguments.select);
    let open = || open_output(&arguments.to, &[Used::History(directory)]);
    let result = if let Some(as_array) = as_array {
        // The lines are printed as they are.
        let (history, found) = find::<()>(directory, select, arguments.quiet)?;
        write_lines(&history, &found, as_array, open()?.json())
    } else {
        let (_, found) = find::<Summary>(directory, select, arguments.quiet)?;
        if arguments.group {
            list_groups(arguments, found, open()?)
        } else {
            let summaries = found.iter().map(|found| &found.summary);
            write_table(&records(summaries, &layout(arguments)), arguments, open()?)
        }
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

fn list_groups(arguments: &ListArgs, mut found: Vec<FoundRecord>, out: Output) -> io::Result<()> {
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
            writeln!(out.json(), "{}", serde_json::to_string(&lines)?)
        }
        ListFormat::Jsonl => {
            let mut out = out.json();
            all.iter().try_for_each(|group| {
                writeln!(out, "{}", serde_json::to_string(&GroupLine::of(group))?)
            })
        }
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
    let width = arguments.to.path().is_none().then(width::terminal_of_stdout).flatten();
    Layout { zone: TimeZone::system(), width, has_legend: !arguments.no_legend }
}

fn write_table(lines: &Lines, arguments: &ListArgs, out: Output) -> io::Result<()> {
    TextOut::new(out.text(arguments.color.choice(&arguments.to))).print(lines)
}
