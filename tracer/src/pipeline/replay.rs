//! The right half of the pipeline on a recording.

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
        recording::{self, Frame, RecordingError},
    },
};

/// Why a replay ends badly.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The recording. What came before the damage was reported.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// An output.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// In a replay the facts stand in the recording.
struct Recorded;

impl FactSource for Recorded {
    fn find(&mut self, _account: &Account, _findings: &mut Findings) {}
}

/// Replays a file. `pipeline` makes the pipeline for the host it was recorded on.
pub fn replay(path: &Path, pipeline: impl FnOnce(Host) -> Pipeline) -> Result<(), ReplayError> {
    let recording = recording::read(path)?;
    let mut pipeline = pipeline(recording.host);
    let mut frames = recording.frames.into_iter().peekable();
    while let Some(frame) = frames.next() {
        let accounts = match frame {
            Frame::Record(record) => pipeline.take(&record, &mut Recorded)?,
            Frame::Fact(Fact::Tick(now_ns)) => pipeline.due(now_ns),
            Frame::Fact(Fact::Settled { seq }) => pipeline.settle(seq),
            Frame::Fact(Fact::Pressed) => pipeline.press(),
            Frame::Fact(Fact::End) => pipeline.finish(),
            Frame::Fact(fact) => {
                pipeline.learn(fact)?;
                continue;
            }
        };
        // The live run noted what it found for these accounts right behind their record.
        while let Some(Frame::Fact(fact)) = frames.next_if(is_finding) {
            pipeline.learn(fact)?;
        }
        if pipeline.report(accounts, &mut Recorded)? {
            return Ok(());
        }
    }
    let left = pipeline.finish();
    pipeline.report(left, &mut Recorded)?;
    recording.damage.map_or(Ok(()), |damage| Err(damage.into()))
}

fn is_finding(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Fact(
            Fact::Symbol { .. }
                | Fact::CgroupPath { .. }
                | Fact::System { .. }
                | Fact::User { .. }
                | Fact::Container { .. }
                | Fact::Process { .. }
                | Fact::Growth { .. }
        )
    )
}
