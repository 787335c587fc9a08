//! Builds the outputs of a run from the command line. A new sink is added here.

use std::{io::Write, path::PathBuf, sync::Arc};

use anstream::AutoStream;
use jiff::tz::TimeZone;

use super::{Failure, watch::log_stderr};
use crate::{
    cli::{Format, OutputArgs, StoreArgs},
    history::{
        DEFAULT_DIR,
        store::{Limits, Store},
    },
    model::host::Host,
    output::{
        json::JsonSink,
        store::{StoreConfig, StoreSink, Writer},
        text::{Detail, TextSink},
    },
    pipeline::sink::{EventOutput, Outputs},
};

/// Every output that the command line asks for. `to` is the destination of `--output-file`. `store`
/// is the history, if it is open.
pub(super) fn outputs(
    arguments: &OutputArgs,
    to: Box<dyn Write>,
    store: Option<Writer>,
) -> Result<Outputs, Failure> {
    let mut outputs = Outputs::default();
    // The store comes first, because printing ends the run if the reader of a pipe is gone.
    if let Some(writer) = store {
        let sink = StoreSink::start(writer);
        outputs.add(sink.map_err(|error| super::history::cannot_open(&error))?);
    }
    match arguments.output {
        Format::Text => {
            let out = AutoStream::new(to, arguments.color.choice(&arguments.to));
            let detail = if arguments.verbose { Detail::Full } else { Detail::Brief };
            let sink = TextSink::new(out, TimeZone::system(), detail);
            outputs.add(sink.with_width(arguments.to.width()));
        }
        Format::Json => outputs.add(JsonSink::new(to)),
        Format::Events => outputs.set_events(EventOutput::new(to)),
    }
    Ok(outputs)
}

/// Makes the directory of the history while the process may still write to directories of other
/// users. Later, opening the history reports why there is none.
pub(super) fn make_history(arguments: &StoreArgs) {
    if arguments.store {
        let _ = Store::make_directory(&directory(arguments));
    }
}

fn directory(arguments: &StoreArgs) -> PathBuf {
    arguments.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR))
}

/// Opens the history, if the reports are stored.
pub(super) fn open_store(arguments: &StoreArgs, host: &Host) -> Result<Option<Writer>, Failure> {
    if !arguments.store {
        return Ok(None);
    }
    let default = Limits::default();
    let config = StoreConfig {
        path: directory(arguments),
        limits: Limits {
            max_use_bytes: arguments.max_use.unwrap_or(default.max_use_bytes),
            max_age: arguments.max_age.or(default.max_age),
        },
        boot_id: host.boot_id.clone().unwrap_or_default(),
    };
    let writer = Writer::start(config, Arc::new(log_stderr));
    writer.map(Some).map_err(|error| super::history::cannot_open(&error))
}
