//! The long answer to the five questions: who, whose limit, why that one, what grew, what to
//! change.
//!
//! Two forms of the same: text for a terminal, and one HTML page to attach to an incident. Nothing
//! is looked up here.

mod html;
mod text;

use std::io::Write;

use jiff::tz::TimeZone;

use crate::{
    compose::verdict::verdict,
    fmt::width,
    model::report::{OomReport, Record},
    pipeline::sink::{Sink, SinkError},
};

/// The forms that long answers are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For a terminal, with color escapes: wrap the output in an `anstream::AutoStream`.
    #[default]
    Text,
    /// One self-contained page.
    Html,
    /// The records, one object a line.
    Json,
}

/// Writes the long answers of records in one form, as they come. Reports without a verdict get one.
#[derive(Debug)]
pub(crate) struct LongSink<W> {
    out: W,
    form: Form,
    zone: TimeZone,
    /// Columns of a line of text.
    width: usize,
    is_begun: bool,
}

impl<W: Write> LongSink<W> {
    /// A sink into `out`; times are shown in `zone`.
    pub(crate) fn new(out: W, form: Form, zone: TimeZone) -> Self {
        Self { out, form, zone, width: width::DEFAULT, is_begun: false }
    }

    /// Limits the lines of text to `width` columns.
    #[must_use]
    pub(crate) fn with_width(self, width: usize) -> Self {
        Self { width, ..self }
    }

    /// Ends the page, if one was begun.
    pub(crate) fn finish(mut self) -> Result<(), SinkError> {
        if self.form == Form::Html && self.is_begun {
            self.out.write_all(html::TAIL.as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn text(&self, record: &Record) -> Result<String, SinkError> {
        let is_first = !self.is_begun;
        Ok(match self.form {
            Form::Text => {
                let rule = format!("\n{}\n", "─".repeat(self.width));
                let text = text::record(record, &self.zone, self.width);
                if is_first { text } else { rule + &text }
            }
            Form::Html if is_first => {
                html::head(record, &self.zone) + &html::record(record, &self.zone)?
            }
            Form::Html => html::record(record, &self.zone)?,
            Form::Json => serde_json::to_string(record).map_err(SinkError::Encode)? + "\n",
        })
    }
}

impl<W: Write> Sink for LongSink<W> {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let record = concluded(record.clone());
        let text = self.text(&record)?;
        self.is_begun = true;
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

/// Writes the long answers of some records, in their order.
pub fn render(
    records: &[Record],
    form: Form,
    zone: TimeZone,
    out: impl Write,
) -> Result<(), SinkError> {
    let mut sink = LongSink::new(out, form, zone);
    records.iter().try_for_each(|record| sink.write(record))?;
    sink.finish()
}

fn concluded(record: Record) -> Record {
    match record {
        Record::Oom(report) if report.verdict.is_none() => {
            let verdict = Some(verdict(&report));
            Record::Oom(Box::new(OomReport { verdict, ..*report }))
        }
        record => record,
    }
}

#[cfg(test)]
mod tests;
