//! `oomwhy list`, `show` and `export`: reports that `watch --store` has stored.

pub(super) mod list;
pub(super) mod pick;

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use jiff::tz::TimeZone;

use super::{
    Failure,
    output_file::{Used, open_output},
    wrong_pattern,
};
use crate::{
    cli::{ExportArgs, ExportFormat, MatchArgs, ShowArgs, ShowFormat},
    commands::exit::Exit,
    fmt::{
        lines::log_stderr,
        sanitize::{Safe, shown},
        units::count,
    },
    history::{
        HistoryError,
        query::Query,
        scan::{FoundRecord, History, Keep, SearchResult, Skipped},
        short_id,
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
    let out = open_output(&arguments.to, &[Used::History(&arguments.dir.dir)])?;
    let result = match arguments.output {
        ShowFormat::Json => {
            let line = [line.as_slice(), b"\n"].concat();
            out.json().write_all(&line).map_err(SinkError::from)
        }
        ShowFormat::Text => {
            let detail = if arguments.verbose { Detail::Full } else { Detail::Brief };
            TextSink::new(
                out.text(arguments.color.choice(&arguments.to)),
                TimeZone::system(),
                detail,
            )
            .with_width(arguments.to.width())
            .write(&record)
        }
    };
    match result {
        Err(SinkError::BrokenPipe) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// `oomwhy export [MATCH]...`.
pub(super) fn export(arguments: &ExportArgs) -> Result<(), Failure> {
    let (history, found) = find::<()>(&arguments.dir.dir, &arguments.select, arguments.quiet)?;
    let out = open_output(&arguments.to, &[Used::History(&arguments.dir.dir)])?;
    let as_array = arguments.output == ExportFormat::Json;
    match write_lines(&history, &found, as_array, out.json()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// The records that match, in the order that the arguments ask for.
fn find<T: Keep>(
    path: &Path,
    select: &MatchArgs,
    quiet: bool,
) -> Result<(History, Vec<FoundRecord<T>>), Failure> {
    let query = query(select)?;
    let history = open(path)?;
    let result = history.find(&query, select.limit());
    log_problems(&result, quiet);
    let mut found = result.found;
    if found.is_empty() {
        return Err(no_match(path, &select.matches, result.skipped, quiet));
    }
    if select.reverse {
        found.reverse();
    }
    Ok((history, found))
}

fn open(path: &Path) -> Result<History, Failure> {
    History::open(path).map_err(|error| cannot_open(&error))
}

const DENIED_HINT: &str = "\nhint: run as root, or name another directory with --dir";

/// A history that cannot be opened. A missing permission has its own exit code.
pub(super) fn cannot_open(error: &HistoryError) -> Failure {
    let mut failure = Failure::runtime(error);
    if let HistoryError::Open { source, .. } | HistoryError::Segment { source, .. } = error {
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                failure.exit = Exit::NotPermitted;
                failure.message += DENIED_HINT;
            }
            io::ErrorKind::NotADirectory => {
                failure.message += "\nhint: name a directory with --dir; `oomwhy explain FILE` \
                                    reads a file of reports";
            }
            _ => {}
        }
    }
    failure
}

fn no_match(path: &Path, words: &[impl AsRef<str>], skipped: Skipped, quiet: bool) -> Failure {
    if skipped.denied > 0 {
        let denied = count(skipped.denied, "file");
        let message =
            format!("no permission to read {denied} of the history {}{DENIED_HINT}", shown(path));
        return Failure { exit: Exit::NotPermitted, message };
    }
    let min = short_id::MIN_LENGTH;
    let mut words = words.iter().map(AsRef::as_ref);
    let hint = words.find(|word| word.len() < min && !word.contains('/') && !is_number(word)).map(
        |word| {
            format!(
                "\nhint: the beginning of an ID has at least {min} letters: {}",
                Safe::from(word)
            )
        },
    );
    let message = format!("no report in {} matches{}", shown(path), hint.unwrap_or_default());
    Failure { exit: Exit::Failure, message: if quiet { String::new() } else { message } }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Logs the skipped lines and files and the missing records, once per command.
fn log_problems<T>(result: &SearchResult<T>, quiet: bool) {
    if !quiet {
        for message in [result.skipped.message(), result.holes.message()].into_iter().flatten() {
            log_stderr(format!("oomwhy: {message}"));
        }
    }
}

fn query(select: &MatchArgs) -> Result<Query, Failure> {
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
        query
            .cgroups
            .push(cgroup_glob(pattern).map_err(|error| wrong_pattern("--cgroup", &error))?);
    }
    for word in &select.matches {
        query.word(word).map_err(|error| wrong_pattern(word, &error))?;
    }
    Ok(query)
}

/// Writes the lines as they were stored, or as one JSON array.
fn write_lines<T>(
    history: &History,
    found: &[FoundRecord<T>],
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
    // All records may have been removed meanwhile.
    if before == start {
        out.write_all(start.as_bytes())?;
    }
    out.write_all(end.as_bytes())?;
    out.flush()
}
