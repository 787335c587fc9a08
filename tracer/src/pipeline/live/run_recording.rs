//! The recording of a run. If it cannot be written any more, it ends, and the run goes on: a full
//! disk must not stop the tracing.

use bytes::Bytes;

use crate::{
    fmt::errors::with_sources,
    model::facts::Fact,
    pipeline::{
        output_health::LogStderr,
        recording::{RecordingError, Writer},
    },
};

/// A recording, and why it ended before the run.
pub(crate) struct RunRecording {
    writer: Option<Writer>,
    failure: Option<RecordingError>,
    log: LogStderr,
}

impl RunRecording {
    pub(crate) fn new(writer: Writer, log: LogStderr) -> Self {
        Self { writer: Some(writer), failure: None, log }
    }

    pub(super) fn record(&mut self, record: &Bytes) {
        self.write(|writer| writer.record(record));
    }

    pub(super) fn fact(&mut self, fact: &Fact) {
        self.write(|writer| writer.fact(fact));
    }

    /// Why it ended before the run. The file is whole up to there.
    pub(super) fn take_failure(&mut self) -> Result<(), RecordingError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn write(&mut self, write: impl FnOnce(&mut Writer) -> Result<(), RecordingError>) {
        if let Some(Err(error)) = self.writer.as_mut().map(write) {
            self.writer = None;
            (self.log)(&format!("{}; the recording ends, tracing goes on", with_sources(&error)));
            self.failure = Some(error);
        }
    }
}
