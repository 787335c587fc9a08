//! `oomwhy explain`: explains the kills in a kernel log or in reports of oomwhy.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read, Write},
    path::Path,
    rc::Rc,
};

use anstream::AutoStream;
use jiff::tz::TimeZone;

use super::{Failure, history, open_output};
use crate::{
    cli::ExplainArgs,
    commands::exit::Exit,
    kmsg::{Context, Lines, Log},
    model::report::{OomReport, Record},
    output::explain::{Form, LongSink},
    pipeline::sink::{Sink, SinkError},
};

/// The maximum length of a report in JSON, bytes. A longer one is an error.
const MAX_REPORT_BYTES: u64 = 64 << 20;

pub(crate) fn explain(arguments: &ExplainArgs) -> Result<(), Failure> {
    let (name, input) = open(&arguments.what, &arguments.dir.dir)?;
    let mut sink = sink(arguments)?;
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let start = input.fill_buf().map_err(|error| unreadable(&name, &error))?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    let count = match first {
        Some(b'{') => records(&name, input, &mut sink),
        _ => log(&name, input, &mut sink),
    };
    match count {
        Ok(0) => Err(failure(format!(
            "{name} contains no OOM kill\nhint: pass a kernel log (dmesg, journalctl -k) or JSON \
             of oomwhy"
        ))),
        Ok(_) => match sink.finish() {
            Err(SinkError::BrokenPipe) => Ok(()),
            result => result.map_err(|error| Failure::runtime(&error)),
        },
        Err(Stop::ClosedPipe) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
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
    let name = what.display().to_string();
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
        Err(error) => Err(unreadable(&name, &error)),
    }
}

fn sink(arguments: &ExplainArgs) -> Result<LongSink<Box<dyn Write>>, Failure> {
    let to = open_output(&arguments.to, None)?;
    let form = arguments.output.into();
    let out: Box<dyn Write> = match form {
        Form::Text => Box::new(AutoStream::new(to, arguments.color.choice(&arguments.to))),
        Form::Html | Form::Json => to,
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
        lines.next_line().map_err(|error| Stop::Failed(unreadable(name, &error)))?
    {
        log.line(line);
        write(log.done())?;
    }
    write(log.finish())?;
    Ok(count)
}

/// Explains the reports in JSON; returns how many.
fn records(name: &str, input: impl BufRead, sink: &mut dyn Sink) -> Result<u64, Stop> {
    let mut count = 0;
    read_records(name, input, |record| {
        sink.write(&record)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
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
        Ok(()) | Err(Stop::ClosedPipe) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn read_records(
    name: &str,
    input: impl BufRead,
    mut handle: impl FnMut(Record) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let left = Rc::new(Cell::new(MAX_REPORT_BYTES));
    let limited = BufReader::new(Limited { input, left: Rc::clone(&left) });
    for record in serde_json::Deserializer::from_reader(limited).into_iter::<Record>() {
        let record = record.map_err(|error| {
            Stop::Failed(failure(format!("{name} is not a report of oomwhy: {error}")))
        })?;
        left.set(MAX_REPORT_BYTES);
        handle(record)?;
    }
    Ok(())
}

/// Fails when `left` bytes have been read. The reader of the records resets it for each one.
struct Limited<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        match self.left.get().checked_sub(length as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("longer than 64 MiB")),
        }
        Ok(length)
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    failure(format!("cannot read {name}: {error}"))
}

fn failure(message: String) -> Failure {
    Failure { exit: Exit::Failure, message }
}
