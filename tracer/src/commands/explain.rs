//! `oomwhy explain`: reports of what somebody else kept, a kernel's log or our own JSON.

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

/// The longest report as JSON that is read. Bytes.
const LONGEST: u64 = 64 << 20;

/// Explains every kill of a file.
pub(crate) fn explain(arguments: &ExplainArgs) -> Result<(), Failure> {
    let (name, input) = open(&arguments.what, &arguments.dir.dir)?;
    let mut sink = sink(arguments)?;
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let start = input.fill_buf().map_err(|error| unreadable(&name, &error))?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    let told = match first {
        Some(b'{') => records(&name, input, &mut sink),
        _ => log(&name, input, &mut sink),
    };
    match told {
        Ok(0) => Err(failure(format!("{name}: there is no OOM kill in it"))),
        Ok(_) => match sink.finish() {
            Err(SinkError::BrokenPipe) => Ok(()),
            result => result.map_err(|error| Failure::runtime(&error)),
        },
        Err(Stop::ReaderLeft) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Why no more is told.
enum Stop {
    /// Whoever read what we print is gone.
    ReaderLeft,
    Failed(Failure),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::BrokenPipe => Self::ReaderLeft,
            error => Self::Failed(Failure::runtime(&error)),
        }
    }
}

/// stdin, a file, or what the history has under this name where there is no such file.
pub(super) fn open(what: &Path, history: &Path) -> Result<(String, Box<dyn Read>), Failure> {
    if what == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let message = "nothing to explain: name a FILE, or `dmesg | oomwhy explain -`";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        return Ok(("stdin".to_owned(), Box::new(stdin)));
    }
    let name = what.display().to_string();
    match File::open(what) {
        Ok(file) => Ok((name, Box::new(file))),
        // A path is none of a report's names.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.contains('/') => {
            let picked = history::pick::pick(history, Some(&name));
            let (_, line) = picked.map_err(|Failure { exit, message }| Failure {
                exit,
                message: format!("{name} is no file, and {message}"),
            })?;
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
    Ok(LongSink::new(out, form, TimeZone::system()))
}

/// Tells the kills of a kernel's log; how many.
fn log(name: &str, input: impl BufRead, sink: &mut dyn Sink) -> Result<u64, Stop> {
    let mut lines = Lines::new(input);
    let mut log = Log::new(Context::default());
    let mut count = 0;
    let mut tell = |reports: Vec<OomReport>| {
        count += reports.len() as u64;
        let mut reports = reports.into_iter();
        reports.try_for_each(|report| sink.write(&Record::Oom(Box::new(report))))
    };
    while let Some(line) =
        lines.next_line().map_err(|error| Stop::Failed(unreadable(name, &error)))?
    {
        log.line(line);
        tell(log.done())?;
    }
    tell(log.finish())?;
    Ok(count)
}

/// Tells reports once more; how many.
fn records(name: &str, input: impl BufRead, sink: &mut dyn Sink) -> Result<u64, Stop> {
    let mut count = 0;
    read_records(name, input, |record| {
        sink.write(&record)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Shows every record of a file.
pub(super) fn each_record(
    name: &str,
    input: impl BufRead,
    mut take: impl FnMut(Record),
) -> Result<(), Failure> {
    let read = read_records(name, input, |record| {
        take(record);
        Ok(())
    });
    match read {
        Ok(()) | Err(Stop::ReaderLeft) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn read_records(
    name: &str,
    input: impl BufRead,
    mut take: impl FnMut(Record) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let left = Rc::new(Cell::new(LONGEST));
    let limited = BufReader::new(Limited { input, left: Rc::clone(&left) });
    for record in serde_json::Deserializer::from_reader(limited).into_iter::<Record>() {
        let record = record.map_err(|error| {
            Stop::Failed(failure(format!("{name}: not a report of oomwhy: {error}")))
        })?;
        left.set(LONGEST);
        take(record)?;
    }
    Ok(())
}

/// Input of which no more than so much is read at a time.
struct Limited<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        match self.left.get().checked_sub(length as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("it is longer than 64 MiB")),
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
