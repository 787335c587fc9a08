//! Makes the reports of a recording again.

use std::path::Path;

use thiserror::Error;

use crate::{
    model::{
        account::Account,
        facts::{Fact, Findings},
        host::Host,
    },
    pipeline::{
        FactSource, Pipeline, PipelineError,
        recording::{Frame, Reader, RecordingError},
    },
};

/// Why a replay ends badly.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The recording cannot be read. Records before the damage were reported.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// An output failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// Finds nothing, because the facts are in the recording.
struct NoSource;

impl FactSource for NoSource {
    fn find(&mut self, _account: &Account, _findings: &mut Findings) {}
}

/// Replays a file. `pipeline` makes the pipeline for the host that it was recorded on.
pub fn replay(path: &Path, pipeline: impl FnOnce(Host) -> Pipeline) -> Result<(), ReplayError> {
    let (host, reader) = Reader::open(path)?;
    let mut pipeline = pipeline(host);
    let mut frames = Frames { reader, next: None };
    while let Some(frame) = frames.next() {
        let accounts = match frame {
            Frame::Record(record) => pipeline.handle_record(&record, &mut NoSource)?,
            Frame::Fact(Fact::Tick(now_ns)) => pipeline.due(now_ns),
            Frame::Fact(Fact::NamesReady { seq }) => pipeline.names_ready(seq),
            Frame::Fact(Fact::Flushed) => pipeline.flush(),
            Frame::Fact(Fact::End) => pipeline.finish(),
            Frame::Fact(fact) => {
                pipeline.learn(fact)?;
                continue;
            }
        };
        // The live run recorded its findings for these accounts right behind their record.
        while let Some(fact) = frames.next_finding() {
            pipeline.learn(fact)?;
        }
        if pipeline.report(accounts, &mut NoSource)? {
            return Ok(());
        }
    }
    let left = pipeline.finish();
    pipeline.report(left, &mut NoSource)?;
    let records = pipeline.stats().undecodable;
    match frames.reader.damage() {
        Some(damage) => Err(damage.into()),
        None if records == 0 => Ok(()),
        None => Err(RecordingError::Undecodable { path: path.to_owned(), records }.into()),
    }
}

/// The frames that are left. They are read one at a time: a file can have any number of them.
struct Frames {
    reader: Reader,
    next: Option<Frame>,
}

impl Frames {
    fn next(&mut self) -> Option<Frame> {
        self.next.take().or_else(|| self.reader.next())
    }

    /// The next frame, if it is a finding.
    fn next_finding(&mut self) -> Option<Fact> {
        match self.next()? {
            Frame::Fact(fact) if is_finding(&fact) => Some(fact),
            frame => {
                self.next = Some(frame);
                None
            }
        }
    }
}

fn is_finding(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Symbol { .. }
            | Fact::CgroupPath { .. }
            | Fact::System { .. }
            | Fact::User { .. }
            | Fact::Container { .. }
            | Fact::CgroupMaker { .. }
            | Fact::LookupsRefused { .. }
            | Fact::Process { .. }
            | Fact::Growth { .. }
    )
}
