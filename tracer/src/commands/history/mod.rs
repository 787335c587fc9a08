//! `oomwhy list`, `show`, `export`: what `watch --store` has kept.

pub(super) mod list;
pub(super) mod pick;

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use anstream::AutoStream;
use jiff::tz::TimeZone;

use super::{Failure, cannot_write, open_output};
use crate::{
    cli::{Destination, ExportArgs, ExportFormat, MatchArgs, ShowArgs, ShowFormat},
    commands::exit::Exit,
    history::{
        HistoryError,
        query::Query,
        scan::{Found, History, Skipped},
    },
    output::text::{Detail, TextSink},
    pipeline::{
        filter::cgroup_glob,
        sink::{Sink, SinkError},
    },
};

/// `oomwhy show [ID]`.
pub(super) fn show(arguments: &ShowArgs) -> Result<(), Failure> {
    let (record, line) = pick::pick(&arguments.dir.dir, arguments.id.as_deref())?;
    let mut out = io::stdout();
    let result = match arguments.output {
        ShowFormat::Json => {
            let line = [line.as_slice(), b"\n"].concat();
            out.write_all(&line).map_err(SinkError::from)
        }
        ShowFormat::Text => {
            let detail = if arguments.verbose { Detail::Full } else { Detail::Brief };
            let out = AutoStream::new(out, arguments.color.choice(&Destination::default()));
            TextSink::new(out, TimeZone::system(), detail).write(&record)
        }
    };
    match result {
        Err(SinkError::BrokenPipe) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// `oomwhy export [MATCH]...`.
pub(super) fn export(arguments: &ExportArgs) -> Result<(), Failure> {
    let (history, found) = find(&arguments.dir.dir, &arguments.select, arguments.quiet)?;
    let out = open_output(&arguments.to, None)?;
    let as_array = arguments.output == ExportFormat::Json;
    match write_lines(&history, &found, as_array, out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| {
            let path = arguments.to.path().unwrap_or(Path::new("stdout"));
            cannot_write(path, &error)
        }),
    }
}

/// The records that are asked for, in the order asked for.
fn find(path: &Path, select: &MatchArgs, quiet: bool) -> Result<(History, Vec<Found>), Failure> {
    let query = query(select)?;
    let history = open(path)?;
    let findings = history.find(&query).map_err(|error| Failure::runtime(&error))?;
    say_skipped(findings.skipped, quiet);
    let mut found = findings.found;
    found.drain(..found.len().saturating_sub(select.limit()));
    if found.is_empty() {
        return Err(no_match(path, quiet));
    }
    if select.reverse {
        found.reverse();
    }
    Ok((history, found))
}

fn open(path: &Path) -> Result<History, Failure> {
    History::open(path).map_err(|error| match &error {
        HistoryError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Failure {
            exit: Exit::Failure,
            message: format!("no history in {}: `oomwhy watch --store` keeps one", path.display()),
        },
        _ => cannot_open(&error),
    })
}

/// A history that cannot be opened: not permitted is told from the rest.
pub(super) fn cannot_open(error: &HistoryError) -> Failure {
    let mut failure = Failure::runtime(error);
    if let HistoryError::Open { source, .. } | HistoryError::Segment { source, .. } = error
        && source.kind() == io::ErrorKind::PermissionDenied
    {
        failure.exit = Exit::NotPermitted;
        failure.message += " (run as root, or name another directory with --dir)";
    }
    failure
}

fn no_match(path: &Path, quiet: bool) -> Failure {
    let message =
        if quiet { String::new() } else { format!("no report in {} matches", path.display()) };
    Failure { exit: Exit::Failure, message }
}

/// Once, whatever there is of it; stderr is talk.
fn say_skipped(skipped: Skipped, quiet: bool) {
    if let Some(words) = skipped.say().filter(|_| !quiet) {
        let _ = writeln!(io::stderr(), "oomwhy: {words}");
    }
}

fn query(select: &MatchArgs) -> Result<Query, Failure> {
    let usage = |error: &dyn std::fmt::Display, what: &str| Failure {
        exit: Exit::Usage,
        message: format!("{what}: {error}"),
    };
    let mut query = Query {
        comms: select.comm.clone(),
        containers: select.container.clone(),
        pods: select.pod.clone(),
        since: select.since,
        until: select.until,
        pid_flags: select.pid.clone(),
        ..Query::default()
    };
    for pattern in &select.cgroup {
        query.cgroups.push(cgroup_glob(pattern).map_err(|error| usage(&error, "--cgroup"))?);
    }
    for word in &select.matches {
        query.word(word).map_err(|error| usage(&error, word))?;
    }
    Ok(query)
}

/// The lines as they were stored, one a line or as one array.
fn write_lines(
    history: &History,
    found: &[Found],
    as_array: bool,
    out: impl Write,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let (start, joint, end) = if as_array { ("[\n", ",\n", "\n]\n") } else { ("", "\n", "\n") };
    let mut before = start;
    history.lines(found, |line| {
        out.write_all(before.as_bytes())?;
        before = joint;
        out.write_all(line)
    })?;
    // All of them may be gone by now.
    if before == start {
        out.write_all(start.as_bytes())?;
    }
    out.write_all(end.as_bytes())?;
    out.flush()
}
