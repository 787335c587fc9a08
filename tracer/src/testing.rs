//! The items that the integration tests and the fuzz targets use. They are no public interface.

pub use crate::{
    bpf::journal::{Entry, Journal, Slot, Slots},
    cli::Cli,
    compose::fingerprint::fingerprint,
    history::{
        short_id::short_id,
        store::{Limits, Store},
    },
    kmsg::{Context, Lines, Log},
    model::{
        account::Account,
        facts::{Fact, Findings},
        host::Host,
        report::{
            Cgroup, Constraint, OomMemcg, OomReport, Outcome, Record, Source, Tier, Trigger, Victim,
        },
    },
    output::{
        explain::{Form, render},
        json::JsonSink,
        text::{Detail, TextSink},
    },
    pipeline::{
        FactSource, Pipeline, PipelineConfig,
        dedup_writer::{CurrentNote, DedupWriter, reported_before},
        recording::{Frame, Recording, Writer as RecordingWriter, read},
        replay::replay,
        sink::Outputs,
    },
};
