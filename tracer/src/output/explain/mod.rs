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
    fmt::{
        lines::{Lines, TextOut},
        width,
    },
    model::report::{OomReport, Record},
    pipeline::sink::{Sink, SinkError, write_json_line},
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
            TextOut::new(&mut self.out).print(&Lines::from(html::TAIL))?;
        }
        Ok(())
    }

    fn text(&self, record: &Record) -> Lines {
        let text = text::record(record, &self.zone, self.width);
        if !self.is_begun {
            return text;
        }
        let mut lines = Lines::from(format!("\n{}\n", "─".repeat(self.width)));
        lines.append(&text);
        lines
    }

    fn html(&self, record: &Record) -> Result<Lines, SinkError> {
        let article = html::record(record, &self.zone)?;
        let head = (!self.is_begun).then(|| html::head(record, &self.zone));
        Ok(Lines::from(head.unwrap_or_default() + &article))
    }
}

impl<W: Write> Sink for LongSink<W> {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let record = concluded(record.clone());
        let lines = match self.form {
            Form::Text => self.text(&record),
            Form::Html => self.html(&record)?,
            Form::Json => return write_json_line(&mut self.out, &record),
        };
        self.is_begun = true;
        Ok(TextOut::new(&mut self.out).print(&lines)?)
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
