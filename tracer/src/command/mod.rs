//! The commands: each takes what the command line said and ends in an [`Exit`] code.

pub mod watch;

use std::io::Write;

use anstream::{AutoStream, ColorChoice};

use crate::{
    events::Event,
    exit::Exit,
    filter::Filter,
    host::Host,
    live::LiveError,
    loader::LoadError,
    pipeline::{EventSink, Pipeline, PipelineError},
    replay::{self, ReplayError},
    sink::{SinkError, json::JsonSink, text::{Detail, TextSink}},
};

/// A command that failed: what to say, and with which code to exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// For stderr; lower case, no period, with a hint where there is one.
    pub message: String,
}

impl Failure {
    /// Something went wrong.
    pub fn runtime(error: &dyn std::error::Error) -> Self {
        Self { exit: Exit::Failure, message: with_sources(error) }
    }

    /// The kernel lacks what is needed.
    pub fn unavailable(error: &dyn std::error::Error) -> Self {
        Self { exit: Exit::Unavailable, message: with_sources(error) }
    }

    /// A reader that went away is a quiet end.
    fn from_live(error: LiveError) -> Self {
        match error {
            LiveError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe)) => Self::quiet(),
            LiveError::Load(LoadError::Refused { .. }) => Self::unavailable(&error),
            error => Self::runtime(&error),
        }
    }

    fn quiet() -> Self {
        Self { exit: Exit::Ok, message: String::new() }
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// What every run can be told.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Which reports.
    pub filter: Filter,
    /// How many.
    pub count: Option<u64>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// Reports, one JSON object a line.
    Json,
    /// Decoded kernel events, one JSON object a line.
    Events,
}

/// Where output goes, and in which form.
pub struct Output {
    /// The form.
    pub form: Form,
    /// Where to.
    pub to: Box<dyn Write>,
    /// Whether text may be colored.
    pub color: ColorChoice,
}

impl Output {
    /// A pipeline that ends in this output.
    fn pipeline(self, host: Host, wishes: Wishes) -> Pipeline {
        let mut pipeline = Pipeline::new(host, wishes.filter, wishes.count);
        match self.form {
            Form::Text => {
                let out = AutoStream::new(self.to, self.color);
                pipeline.add_sink(TextSink::new(out, jiff::tz::TimeZone::system(), Detail::Brief));
            }
            Form::Json => pipeline.add_sink(JsonSink::new(self.to)),
            Form::Events => pipeline.set_event_sink(EventLines { out: self.to }),
        }
        pipeline
    }
}

/// Events as JSON lines.
struct EventLines<W> {
    out: W,
}

impl<W: Write> EventSink for EventLines<W> {
    fn event(&mut self, event: &Event) -> Result<(), SinkError> {
        let mut line = serde_json::to_vec(event).map_err(SinkError::Encode)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        Ok(self.out.flush()?)
    }
}

/// `oomwhy replay FILE`.
pub fn replay(
    path: &std::path::Path,
    wishes: Wishes,
    output: Output,
) -> Result<(), Failure> {
    match replay::replay(path, |host| output.pipeline(host, wishes)) {
        Err(ReplayError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => {
            Err(Failure::quiet())
        }
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}
