//! One JSON object a line: the contract of docs/record.md.

use std::io::Write;

use crate::{
    model::report::Record,
    pipeline::sink::{Sink, SinkError, write_json_line},
};

/// Writes records as JSON lines.
#[derive(Debug)]
pub struct JsonSink<W> {
    out: W,
}

impl<W: Write> JsonSink<W> {
    /// A sink into `out`, unbuffered: each record is one write.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        write_json_line(&mut self.out, record)
    }
}

#[cfg(test)]
mod tests;
