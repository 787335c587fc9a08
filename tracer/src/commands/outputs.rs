//! Builds the outputs of a run from the command line. A new sink is added here.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    Failure,
    history::cannot_open,
    output_file::{self, LiveOutput, Output},
};
use crate::{
    bpf::journal::SharedJournal,
    cli::{Format, OutputArgs, StoreArgs},
    fmt::lines::log_stderr,
    history::{DEFAULT_DIR, store::Limits},
    model::{host::Host, report::LossStage},
    output::{
        json::JsonSink,
        queued::QueuedWriter,
        store::{self, StoreConfig, StoreSink},
        text::{Detail, TextSink},
    },
    pipeline::{
        dedup_writer::{DedupWriter, Notes, SharedDestination},
        output_health::{LogStderr, OutputHealth},
        sink::{EventOutput, Outputs},
    },
};

/// Every output of a live run, each on a thread of its own.
pub(super) fn live_outputs(
    arguments: &OutputArgs,
    to: LiveOutput,
    history: OpenedHistory,
) -> Result<Outputs, Failure> {
    queued_outputs(arguments, to, history, QueuedWriter::start)
}

/// The outputs of a run that continues another one: its journal has each report before and after it
/// is written.
pub(super) fn resumed_outputs(
    arguments: &OutputArgs,
    out: &SharedDestination,
    journal: SharedJournal,
    history: OpenedHistory,
) -> Result<Outputs, Failure> {
    let to = LiveOutput::shared(&arguments.to, Arc::clone(out));
    let notes = Notes::default();
    let writer = DedupWriter::new(Arc::clone(out), journal);
    let start = |_, health| QueuedWriter::start_noted(writer, notes.clone(), health);
    let mut outputs = queued_outputs(arguments, to, history, start)?;
    outputs.set_notes(notes);
    Ok(outputs)
}

fn queued_outputs(
    arguments: &OutputArgs,
    to: LiveOutput,
    history: OpenedHistory,
    start: impl FnOnce(Box<dyn Write + Send>, OutputHealth) -> io::Result<QueuedWriter>,
) -> Result<Outputs, Failure> {
    let mut outputs = history.start()?;
    let name = output_file::name(&arguments.to).to_string_lossy();
    let health = outputs.health(name, LossStage::Queue, log());
    let to =
        to.through(|out| start(out, health.clone())).map_err(|error| Failure::runtime(&error))?;
    add_printed(&mut outputs, arguments, to, Some(health));
    Ok(outputs)
}

/// The output of a replay.
pub(super) fn replay_outputs(arguments: &OutputArgs, to: Output) -> Outputs {
    let mut outputs = Outputs::default();
    add_printed(&mut outputs, arguments, to, None);
    outputs
}

/// Prints lines of other threads on stderr.
pub(super) fn log() -> LogStderr {
    Arc::new(|text: &str| log_stderr(text))
}

/// Adds the output for people and programs.
fn add_printed(
    outputs: &mut Outputs,
    arguments: &OutputArgs,
    to: Output,
    health: Option<OutputHealth>,
) {
    match arguments.output {
        Format::Text => {
            let out = to.text(arguments.color.choice(&arguments.to));
            let detail = if arguments.verbose { Detail::Full } else { Detail::Brief };
            let sink = TextSink::new(out, TimeZone::system(), detail);
            outputs.add_watched(sink.with_width(arguments.to.width()), health);
        }
        Format::Json => outputs.add_watched(JsonSink::new(to.json()), health),
        Format::Events => outputs.set_events(EventOutput::new(to.json()), health),
    }
}

/// The history, opened but not written to by a thread yet.
pub(super) struct OpenedHistory {
    outputs: Outputs,
    writer: Option<store::Writer>,
}

/// Opens the history, if the reports are stored. Must be called before the process confines itself:
/// without capabilities, root cannot enter the home of a user.
pub(super) fn open_history(arguments: &StoreArgs, host: &Host) -> Result<OpenedHistory, Failure> {
    let outputs = Outputs::default();
    if !arguments.store {
        return Ok(OpenedHistory { outputs, writer: None });
    }
    let default = Limits::default();
    let config = StoreConfig {
        path: arguments.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR)),
        limits: Limits {
            max_use_bytes: arguments.max_use.unwrap_or(default.max_use_bytes),
            max_age: arguments.max_age.or(default.max_age),
            keep_free: arguments.keep_free.or(default.keep_free),
        },
        boot_id: host.boot_id.clone().unwrap_or_default(),
    };
    let health = outputs.health("history", LossStage::Store, log());
    let writer = store::Writer::start(config, health).map_err(|error| cannot_open(&error))?;
    Ok(OpenedHistory { outputs, writer: Some(writer) })
}

impl OpenedHistory {
    /// Starts the thread. The history comes first: the end of a pipe ends a run without history.
    fn start(self) -> Result<Outputs, Failure> {
        let Self { mut outputs, writer } = self;
        if let Some(writer) = writer {
            let health = writer.health().clone();
            let sink = StoreSink::start(writer).map_err(|error| cannot_open(&error))?;
            outputs.add_watched(sink, Some(health));
        }
        Ok(outputs)
    }
}
