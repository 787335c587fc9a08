//! The items that the integration tests and the fuzz targets use. They are no public interface.

use std::{io, os::fd::OwnedFd, path::Path};

use crate::{
    enrich::{
        container::{cgroup_owner, directory},
        runtime_files::{self, HostFiles},
    },
    history::{query::Query, scan::History, summary::Summary},
    host::opener::Directory,
    pipeline::decode::decode,
    symbolize::user,
};

pub use crate::{
    bpf::journal::{Entry, Journal, Note, Slot, Slots},
    cli::Cli,
    compose::fingerprint::fingerprint,
    history::{
        moment::Moment,
        short_id::short_id,
        store::{Limits, Store},
    },
    host::oom_score_adj::MAX_DATA_BYTES,
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
        dedup_writer::{DedupWriter, Notes, reported_before},
        recording::{Frame, Recording, Writer as RecordingWriter, read},
        replay::replay,
        sink::Outputs,
    },
};

/// Whether a record of the probes can be decoded.
pub fn decodes(record: &[u8]) -> bool {
    decode(record).is_ok()
}

/// Searches the history in a directory. Returns the numbers of records and of their lines.
pub fn search_history(directory: &Path) -> (usize, usize) {
    let Ok(history) = History::open(directory) else {
        return (0, 0);
    };
    let found = history.find::<Summary>(&Query::default(), usize::MAX).found;
    let mut n_lines = 0;
    let count = |_line: &[u8]| {
        n_lines += 1;
        Ok::<(), ()>(())
    };
    // It never fails, because `count` does not.
    let _ = history.lines(&found, count);
    (found.len(), n_lines)
}

/// Responds to a request of the tracer and its files as its helper process does.
pub fn answer_user_symbols(request: &[u8], files: Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    user::answer_with(request, files)
}

/// The container of a cgroup, with the names that files below `root` have, as in a report. Cgroups
/// are below `root/cgroup`.
pub fn container_of(root: &Path, cgroup: &str) -> serde_json::Value {
    let Some(mut container) = cgroup_owner(cgroup).container else {
        return serde_json::Value::Null;
    };
    if let Some(base) = Directory::at(root) {
        let host = HostFiles { root: base, cgroup_mount: Some(root.join("cgroup")) };
        let maker = host.maker(directory(cgroup, &container));
        container.fill_from(&runtime_files::look_up(&host, &container, cgroup, maker));
    }
    serde_json::to_value(container).unwrap_or_default()
}
