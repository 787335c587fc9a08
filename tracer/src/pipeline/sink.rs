//! Where finished records go. A sink prints what it is given and looks nothing up.
//!
//! [`text`] is for people, [`json`] is the stable contract; both write a record with one call, so
//! that a reader never sees half of one. [`store`] keeps them in the history.

use std::io;

use thiserror::Error;

use crate::model::report::Record;

/// A consumer of records.
pub trait Sink {
    /// Writes one record, whole, and flushes it.
    fn write(&mut self, record: &Record) -> Result<(), SinkError>;

    /// A report whose victims are not gone yet; it comes again by [`Sink::late`]. Who wants one
    /// record per report waits for that.
    fn early(&mut self, _record: &Record) -> Result<(), SinkError> {
        Ok(())
    }

    /// The report that came early, with what became of its victims.
    fn late(&mut self, record: &Record) -> Result<(), SinkError> {
        self.write(record)
    }
}

/// Why a record could not be written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader is gone: a quiet end, not a failure.
    #[error("the reader closed the output")]
    BrokenPipe,
    /// The output does not take it.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
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
