//! `oomwhy explain`: explains the kills in a kernel log or in reports of oomwhy.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read, Write},
    path::Path,
};

use jiff::tz::TimeZone;

use super::{
    Failure, cannot_read, history,
    json_lines::{self, Stopped},
    output_file::{Used, open_output},
};
use crate::{
    cli::ExplainArgs,
    commands::exit::Exit,
    fmt::{lines::log_stderr, sanitize::shown},
    kmsg::{Context, Lines, Log},
    model::report::{OomReport, Record},
    output::explain::{Form, LongSink},
    pipeline::sink::{Sink, SinkError},
};

const HINT: &str = "hint: give a kernel log (dmesg, journalctl -k), or reports that `oomwhy -o json` \
                    printed; `oomwhy replay` reads a recording";

pub(crate) fn explain(arguments: &ExplainArgs) -> Result<(), Failure> {
    let (name, input) = open(&arguments.what, &arguments.dir.dir)?;
    let mut sink = sink(arguments)?;
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let start = input.fill_buf().map_err(|error| cannot_read(&name, &error))?;
    let count = if is_json(start) {
        records(&name, input, &mut sink)
    } else {
        log(&name, input, &mut sink)
    };
    match count {
        Ok(0) => Err(failure(format!("{name} contains no OOM kill\n{HINT}"))),
        Ok(_) => match sink.finish() {
            Err(SinkError::BrokenPipe) => Ok(()),
            result => result.map_err(|error| Failure::runtime(&error)),
        },
        Err(Stop::ClosedPipe) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Whether an input that begins so has reports, perhaps behind the end of a torn one.
fn is_json(start: &[u8]) -> bool {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    first == Some(&b'{')
        || start.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"{\"type\":"))
}

/// Why reading stops early.
enum Stop {
    /// The reader of the output has closed the pipe.
    ClosedPipe,
    Failed(Failure),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::BrokenPipe => Self::ClosedPipe,
            error => Self::Failed(Failure::runtime(&error)),
        }
    }
}

/// Opens stdin, a file or, if there is no such file, a report of the history.
pub(super) fn open(what: &Path, history: &Path) -> Result<(String, Box<dyn Read>), Failure> {
    if what == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let message = "stdin is a terminal: nothing to read\nhint: name a FILE, or use \
                           `dmesg | oomwhy explain -`";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        return Ok(("stdin".to_owned(), Box::new(stdin)));
    }
    let name = String::from(shown(what));
    match File::open(what) {
        Ok(file) => Ok((name, Box::new(file))),
        // A name with a slash can only be a path.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.contains('/') => {
            let (_, line) = history::pick::pick(history, Some(&name)).map_err(
                |Failure { exit, message }| Failure {
                    exit,
                    message: format!("there is no file {name}, and {message}"),
                },
            )?;
            Ok((name, Box::new(io::Cursor::new(line))))
        }
        Err(error) => Err(cannot_read(&name, &error)),
    }
}

/// The files that [`open`] may read.
pub(super) fn used<'a>(what: &'a Path, history: &'a Path) -> [Used<'a>; 2] {
    [Used::Input(what), Used::History(history)]
}

fn sink(arguments: &ExplainArgs) -> Result<LongSink<Box<dyn Write>>, Failure> {
    let to = open_output(&arguments.to, &used(&arguments.what, &arguments.dir.dir))?;
    let form = arguments.output.into();
    let out: Box<dyn Write> = match form {
        Form::Text => Box::new(to.text(arguments.color.choice(&arguments.to))),
        Form::Html => to.machine(),
        Form::Json => to.json(),
    };
    Ok(LongSink::new(out, form, TimeZone::system()).with_width(arguments.to.width()))
}

/// Explains the kills in a kernel log; returns how many.
fn log(name: &str, input: impl BufRead, sink: &mut dyn Sink) -> Result<u64, Stop> {
    let mut lines = Lines::new(input);
    let mut log = Log::new(Context::default());
    let mut count = 0;
    let mut write = |reports: Vec<OomReport>| {
        count += reports.len() as u64;
        reports.into_iter().try_for_each(|report| sink.write(&Record::Oom(Box::new(report))))
    };
    while let Some(line) =
        lines.next_line().map_err(|error| Stop::Failed(cannot_read(name, &error)))?
    {
        log.line(line);
        write(log.done())?;
    }
    write(log.finish())?;
    Ok(count)
}

/// Explains the reports in JSON; returns how many.
fn records(name: &str, input: impl BufRead, sink: &mut dyn Sink) -> Result<u64, Stop> {
    read_records(name, input, |record| sink.write(&record).map_err(Stop::from))
}

/// Calls `handle` with every record of a file.
pub(super) fn each_record(
    name: &str,
    input: impl BufRead,
    mut handle: impl FnMut(Record),
) -> Result<(), Failure> {
    let read = read_records(name, input, |record| {
        handle(record);
        Ok(())
    });
    match read {
        Ok(_) | Err(Stop::ClosedPipe) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Calls `handle` with every record; returns how many. Logs the skipped lines.
fn read_records(
    name: &str,
    input: impl BufRead,
    handle: impl FnMut(Record) -> Result<(), Stop>,
) -> Result<u64, Stop> {
    let tally = json_lines::read(input, handle).map_err(|stopped| match stopped {
        Stopped::Unreadable(error) => Stop::Failed(cannot_read(name, &error)),
        Stopped::Handler(stop) => stop,
    })?;
    if tally.values == 0 && tally.damaged > 0 {
        let line = tally.first_damaged;
        let message = format!("{name} is not a report of oomwhy: cannot read line {line}");
        return Err(Stop::Failed(failure(format!("{message}\n{}", json_lines::HINT))));
    }
    if let Some(message) = tally.message() {
        log_stderr(format!("oomwhy: {name}: {message}"));
    }
    Ok(tally.values)
}

fn failure(message: String) -> Failure {
    Failure { exit: Exit::Failure, message }
}
