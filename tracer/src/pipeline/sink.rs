//! The interface of a sink, and the sinks of a run. A sink prints the records that it is given and
//! looks nothing up. The sinks themselves are in `output`; `commands/outputs.rs` makes them.
//!
//! Each output writes a record with one call, so that a reader never sees half of one. A sink must
//! not block for long: while it writes, nobody reads the ring.

use std::io::{self, Write};

use serde::Serialize;
use thiserror::Error;

use super::dedup_writer::CurrentNote;
use crate::model::{events::Event, report::Record};

/// A consumer of records.
pub trait Sink {
    /// Writes one whole record and flushes it.
    fn write(&mut self, record: &Record) -> Result<(), SinkError>;

    /// Gets a report whose victims are not gone yet. It comes again by [`Sink::update`]. A sink
    /// that writes one record per report waits for that.
    fn provisional(&mut self, _record: &Record) -> Result<(), SinkError> {
        Ok(())
    }

    /// Gets the final form of a report that was provisional before.
    fn update(&mut self, record: &Record) -> Result<(), SinkError> {
        self.write(record)
    }
}

/// Why a record could not be written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader of a pipe is gone: a quiet end, not a failure.
    #[error("the reader closed the output")]
    BrokenPipe,
    /// The write failed for another reason, which names the output.
    #[error(transparent)]
    Write(io::Error),
    /// The record has no JSON form.
    #[error("cannot encode a record as JSON")]
    Encode(#[source] serde_json::Error),
}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Write(error),
        }
    }
}

/// Writes decoded events as JSON lines, for `-o events`.
pub(crate) struct EventOutput {
    out: Box<dyn Write>,
}

impl EventOutput {
    pub(crate) fn new(out: Box<dyn Write>) -> Self {
        Self { out }
    }

    fn write(&mut self, event: &Event) -> Result<(), SinkError> {
        write_json_line(&mut self.out, event)
    }
}

/// Writes a value as one line of JSON with one call, and flushes it.
pub(crate) fn write_json_line(
    out: &mut impl Write,
    value: &impl Serialize,
) -> Result<(), SinkError> {
    let mut line = serde_json::to_vec(value).map_err(SinkError::Encode)?;
    line.push(b'\n');
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Every output of a run.
#[derive(Default)]
pub struct Outputs {
    pub(super) sinks: Vec<Box<dyn Sink>>,
    events: Option<EventOutput>,
    /// Holds the note for the next report, if one of the sinks needs it.
    pub(super) current_note: Option<CurrentNote>,
}

impl Outputs {
    /// Adds an output for records. The outputs are written in the order in which they are added.
    pub fn add(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    pub(crate) fn set_events(&mut self, events: EventOutput) {
        self.events = Some(events);
    }

    /// Sets the cell in which the pipeline puts the note for the next report.
    pub fn set_current_note(&mut self, note: CurrentNote) {
        self.current_note = Some(note);
    }

    pub(super) fn write_event(&mut self, event: &Event) -> Result<(), SinkError> {
        self.events.as_mut().map_or(Ok(()), |events| events.write(event))
    }
}
