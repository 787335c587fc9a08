//! The interface of a sink, and the sinks of a run. A sink prints the records that it is given and
//! looks nothing up. The sinks themselves are in `output`; `commands/outputs.rs` makes them.
//!
//! Each output writes a record with one call, so that a reader never sees half of one. While a sink
//! writes, nobody reads the ring. So the outputs of a live run write on threads of their own.

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;

use super::{
    dedup_writer::Notes,
    output_health::{LogStderr, NotWritten, OutputHealth},
};
use crate::model::{
    events::Event,
    report::{LossStage, Record},
};

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
    sinks: Vec<Output<Box<dyn Sink>>>,
    events: Option<Output<EventOutput>>,
    /// Wakes up the main loop when the state of an output changes.
    changed: Arc<Notify>,
    /// The notes for the journal, if one of the sinks writes them.
    pub(super) notes: Option<Notes>,
}

/// An output, and its state if it writes on a thread of its own.
struct Output<T> {
    to: T,
    health: Option<OutputHealth>,
}

impl<T> Output<T> {
    fn is_gone(&self) -> bool {
        self.health.as_ref().is_some_and(OutputHealth::is_gone)
    }
}

impl Outputs {
    /// Adds an output for records. The outputs are written in the order in which they are added.
    pub fn add(&mut self, sink: impl Sink + 'static) {
        self.add_watched(sink, None);
    }

    /// Adds an output that may write on a thread of its own.
    pub(crate) fn add_watched(&mut self, sink: impl Sink + 'static, health: Option<OutputHealth>) {
        self.sinks.push(Output { to: Box::new(sink), health });
    }

    pub(crate) fn set_events(&mut self, events: EventOutput, health: Option<OutputHealth>) {
        self.events = Some(Output { to: events, health });
    }

    /// Sets what the output of several runs shares with the pipeline, which puts the note for the
    /// next report there.
    pub fn set_notes(&mut self, notes: Notes) {
        self.notes = Some(notes);
    }

    /// Drops all outputs. Each gets a moment to write what it has.
    pub(super) fn close(&mut self) {
        self.events = None;
        self.sinks.clear();
    }

    /// The state of a new output, to be given to [`Outputs::add_watched`] with it.
    pub(crate) fn health(
        &self,
        name: impl Into<String>,
        stage: LossStage,
        log: LogStderr,
    ) -> OutputHealth {
        OutputHealth::new(name, stage, log, Arc::clone(&self.changed))
    }

    /// Notified when [`Outputs::take_losses`] or [`Outputs::remove_gone`] has something to do.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The records that outputs lost before they worked again.
    pub(super) fn take_losses(&self) -> Vec<(OutputHealth, NotWritten)> {
        let loss = |health: &OutputHealth| Some((health.clone(), health.take_loss()?));
        self.watched().filter_map(loss).collect()
    }

    /// Removes the outputs whose reader is gone. Fails with a closed pipe if none is left.
    pub(super) fn remove_gone(&mut self) -> Result<(), SinkError> {
        let gone: Vec<OutputHealth> = self.watched().filter(|it| it.is_gone()).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.sinks.retain(|sink| !sink.is_gone());
        self.events.take_if(|events| events.is_gone());
        self.go_on_without(&gone)
    }

    /// Fails with a closed pipe if no output is left.
    fn go_on_without(&self, gone: &[OutputHealth]) -> Result<(), SinkError> {
        self.any_left()?;
        if let Some(notes) = &self.notes {
            // The other outputs have these reports.
            notes.undelivered.clear();
        }
        gone.iter().for_each(OutputHealth::log_gone);
        Ok(())
    }

    /// Gives a record to every sink, and removes a sink whose reader is gone. Fails with a closed
    /// pipe if no output is left, or with the last error of another kind.
    pub(super) fn each(
        &mut self,
        mut write: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let (n_before, mut result) = (self.sinks.len(), Ok(()));
        let mut gone = Vec::new();
        self.sinks.retain_mut(|sink| match write(sink.to.as_mut()) {
            Err(SinkError::BrokenPipe) => {
                gone.extend(sink.health.clone());
                false
            }
            Err(error) => {
                result = Err(error);
                true
            }
            Ok(()) => true,
        });
        if self.sinks.len() < n_before {
            self.go_on_without(&gone)?;
        }
        result
    }

    pub(super) fn write_event(&mut self, event: &Event) -> Result<(), SinkError> {
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        match events.to.write(event) {
            Err(SinkError::BrokenPipe) => {
                self.events = None;
                self.any_left()
            }
            written => written,
        }
    }

    pub(super) fn watched(&self) -> impl Iterator<Item = &OutputHealth> {
        let of_sinks = self.sinks.iter().filter_map(|sink| sink.health.as_ref());
        of_sinks.chain(self.events.iter().filter_map(|events| events.health.as_ref()))
    }

    fn any_left(&self) -> Result<(), SinkError> {
        let is_empty = self.sinks.is_empty() && self.events.is_none();
        if is_empty { Err(SinkError::BrokenPipe) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

    use super::{Outputs, Sink, SinkError};
    use crate::{
        model::{
            facts::Fact,
            host::Host,
            report::{LossReason, LossStage, Record, Tier},
        },
        pipeline::{Pipeline, PipelineConfig},
    };

    /// Keeps the records that it gets, and fails with this error once there are `room` of them.
    struct Kept {
        records: Rc<RefCell<Vec<Record>>>,
        room: usize,
    }

    impl Sink for Kept {
        fn write(&mut self, record: &Record) -> Result<(), SinkError> {
            if self.records.borrow().len() == self.room {
                return Err(SinkError::BrokenPipe);
            }
            self.records.borrow_mut().push(record.clone());
            Ok(())
        }
    }

    fn kept(room: usize) -> (Kept, Rc<RefCell<Vec<Record>>>) {
        let records = Rc::new(RefCell::new(Vec::new()));
        (Kept { records: Rc::clone(&records), room }, records)
    }

    #[test]
    fn loss_of_an_output_is_a_record_for_all() {
        let mut outputs = Outputs::default();
        let (sink, records) = kept(9);
        let health = outputs.health("stdout", LossStage::Queue, Arc::new(|_: &str| {}));
        outputs.add_watched(sink, Some(health.clone()));
        let mut pipeline = Pipeline::new(PipelineConfig::new(Host::of_tier(Tier::Fentry), outputs));
        health.lose(2, LossReason::QueueFull, "full");
        pipeline.handle_outputs().unwrap();
        assert!(records.borrow().is_empty(), "it still fails");
        health.works();
        pipeline.handle_outputs().unwrap();
        pipeline.handle_outputs().unwrap();
        let records = records.borrow();
        let [Record::Loss(loss)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((loss.stage, loss.count), (Some(LossStage::Queue), 2));
        assert_eq!(loss.reason, Some(LossReason::QueueFull));
        assert_eq!(loss.name.as_deref(), Some("stdout"));
    }

    #[test]
    fn run_ends_with_its_last_output() {
        let mut outputs = Outputs::default();
        let [(short, some), (long, all)] = [kept(1), kept(2)];
        outputs.add(short);
        outputs.add(long);
        let mut pipeline = Pipeline::new(PipelineConfig::new(Host::of_tier(Tier::Fentry), outputs));
        // Each is a record.
        let lost = |count| Fact::Drops {
            count,
            kills: None,
            kills_by_reason: BTreeMap::new(),
            first_ns: 0,
            last_ns: 0,
        };
        pipeline.learn(lost(1)).unwrap();
        pipeline.learn(lost(2)).unwrap();
        assert_eq!((some.borrow().len(), all.borrow().len()), (1, 2));
        assert!(pipeline.learn(lost(3)).is_err());
    }
}
