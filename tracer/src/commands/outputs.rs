//! Builds the outputs of a run from the command line. A new sink is added here.

use std::{path::PathBuf, sync::Arc};

use jiff::tz::TimeZone;

use super::{Failure, output_file::Output};
use crate::{
    cli::{Format, OutputArgs, StoreArgs},
    fmt::lines::log_stderr,
    history::{DEFAULT_DIR, store::Limits},
    model::host::Host,
    output::{
        json::JsonSink,
        store::{StoreConfig, StoreSink},
        text::{Detail, TextSink},
    },
    pipeline::sink::{EventOutput, Outputs},
};

/// Every output that the command line asks for. `to` is the destination of `--output-file`. `store`
/// is given by the commands that have `--store`.
pub(super) fn outputs(
    arguments: &OutputArgs,
    to: Output,
    store: Option<(&StoreArgs, &Host)>,
) -> Result<Outputs, Failure> {
    let mut outputs = Outputs::default();
    // The store comes first, because printing ends the run if the reader of a pipe is gone.
    if let Some((arguments, host)) = store.filter(|(arguments, _)| arguments.store) {
        outputs.add(start_store(arguments, host)?);
    }
    match arguments.output {
        Format::Text => {
            let out = to.text(arguments.color.choice(&arguments.to));
            let detail = if arguments.verbose { Detail::Full } else { Detail::Brief };
            let sink = TextSink::new(out, TimeZone::system(), detail);
            outputs.add(sink.with_width(arguments.to.width()));
        }
        Format::Json => outputs.add(JsonSink::new(to.json())),
        Format::Events => outputs.set_events(EventOutput::new(to.json())),
    }
    Ok(outputs)
}

fn start_store(arguments: &StoreArgs, host: &Host) -> Result<StoreSink, Failure> {
    let default = Limits::default();
    let config = StoreConfig {
        path: arguments.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR)),
        limits: Limits {
            max_use_bytes: arguments.max_use.unwrap_or(default.max_use_bytes),
            max_age: arguments.max_age.or(default.max_age),
        },
        boot_id: host.boot_id.clone().unwrap_or_default(),
    };
    StoreSink::start(config, Arc::new(|text: &str| log_stderr(text)))
        .map_err(|error| super::history::cannot_open(&error))
}
