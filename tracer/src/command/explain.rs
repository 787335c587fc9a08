//! `oomwhy explain`: the long answer for reports that were kept as JSON.

use std::{
    fs::File,
    io::{self, BufReader, IsTerminal as _, Read, Write},
    path::Path,
};

use anstream::AutoStream;
use jiff::tz::TimeZone;

use super::{Failure, open_output};
use crate::{
    cli::ExplainArgs,
    exit::Exit,
    explain::{Form, LongSink},
    report::Record,
    sink::{Sink as _, SinkError},
};

/// Explains every report of a file.
pub fn explain(arguments: &ExplainArgs) -> Result<(), Failure> {
    let (name, input) = open(&arguments.what)?;
    let output = arguments.to_file();
    let to = open_output(&output, None)?;
    let form = arguments.output.into();
    let out: Box<dyn Write> = match form {
        Form::Text => Box::new(AutoStream::new(to, output.color_choice())),
        Form::Html | Form::Json => to,
    };
    let mut sink = LongSink::new(out, form, TimeZone::system());
    let mut count = 0_u64;
    for record in serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter::<Record>()
    {
        let record = record.map_err(|error| foreign(&name, count, &error))?;
        count += 1;
        match sink.write(&record) {
            Err(SinkError::BrokenPipe) => return Ok(()),
            result => result.map_err(|error| Failure::runtime(&error))?,
        }
    }
    if count == 0 {
        return Err(failure(format!("{name}: there is no report in it")));
    }
    match sink.finish() {
        Err(SinkError::BrokenPipe) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

fn open(what: &Path) -> Result<(String, Box<dyn Read>), Failure> {
    if what == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let message = "nothing to explain: name a FILE, or pipe reports into `oomwhy explain -`";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        return Ok(("stdin".to_owned(), Box::new(stdin)));
    }
    let name = what.display().to_string();
    match File::open(what) {
        Ok(file) => Ok((name, Box::new(file))),
        Err(error) => Err(failure(format!("{name}: {error}"))),
    }
}

fn foreign(name: &str, before: u64, error: &serde_json::Error) -> Failure {
    let after = if before == 0 { String::new() } else { format!(" after {before} reports") };
    failure(format!("{name}: not what `oomwhy -o json` prints{after}: {error}"))
}

fn failure(message: String) -> Failure {
    Failure { exit: Exit::Failure, message }
}
