//! A pipeline without a kernel, and records as the probes write them.

#![allow(dead_code, reason = "each test binary has its own part of it")]

use std::io;

use bytes::Bytes;
use oomwhy::testing::{
    Account, FactSource, Findings, Host, JsonSink, Outputs, Pipeline, PipelineConfig, Tier,
};
use oomwhy_common::{
    event::{
        COMM_LEN, EndEvent, EventHeader, InvocationEvent, TaskFacts, VictimEvent, VictimGoneEvent,
        chosen, kind,
    },
    valid,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

pub(crate) const MS: u64 = 1_000_000;

pub(crate) struct NoSource;

impl FactSource for NoSource {
    fn find(&mut self, _account: &Account, _findings: &mut Findings) {}
}

/// A pipeline that waits ten seconds for victims, and whose reports go nowhere.
pub(crate) fn pipeline() -> Pipeline {
    let hooks = ["mark_victim", "sched_process_exit", "exit_mmap"];
    let host = Host {
        boot_id: Some("boot".to_owned()),
        page_size: 4096,
        hooks: hooks.map(|hook| (hook.to_owned(), "fentry".to_owned())).into(),
        memory_on_v2: Some(true),
        close_after_ns: 10_000 * MS,
        ..Host::of_tier(Tier::Fentry)
    };
    let mut outputs = Outputs::default();
    outputs.add(JsonSink::new(io::sink()));
    Pipeline::new(PipelineConfig::new(host, outputs))
}

/// An invocation of the OOM killer: its number, and the time of its records.
#[derive(Clone, Copy)]
pub(crate) struct Invocation {
    pub(crate) seq: u64,
    pub(crate) at_ns: u64,
}

impl Invocation {
    /// The header of a record that is a `T`, with `more` bytes after it. All is known.
    pub(crate) fn header<T>(self, kind: u32, more: usize) -> EventHeader {
        EventHeader {
            boottime_ns: self.at_ns,
            seq: self.seq,
            valid: u64::MAX >> 16,
            kind,
            size: u32::try_from(size_of::<T>() + more).unwrap(),
            cpu: 0,
            reserved: 0,
        }
    }

    /// The limit of the memory cgroup with this id was hit by this task, which is chosen.
    pub(crate) fn begin(self, oom_memcg: u64, task: TaskFacts) -> InvocationEvent {
        let mut event = InvocationEvent::new_zeroed();
        event.header = self.header::<InvocationEvent>(kind::INVOCATION, 0);
        event.started_ns = self.at_ns;
        (event.trigger, event.chosen) = (task, task);
        event.oom_memcg.id = oom_memcg;
        event.constraint = 3;
        event.choice_made = 1;
        event
    }

    pub(crate) fn victim(self, task: TaskFacts, mm: u64) -> Bytes {
        let mut event = VictimEvent::new_zeroed();
        event.header = self.header::<VictimEvent>(kind::VICTIM, 0);
        event.header.valid &= !valid::victim::SHARES_MM;
        (event.task, event.mm) = (task, mm);
        record(&event, &[])
    }

    pub(crate) fn end(self, n_victims: u32) -> Bytes {
        let mut event = EndEvent::new_zeroed();
        event.header = self.header::<EndEvent>(kind::END, 0);
        event.chosen = chosen::TASK;
        (event.kill_calls, event.victims, event.processes) = (1, n_victims, n_victims);
        record(&event, &[])
    }

    /// A step in the end of a victim: of its memory, or with `mm` 0 of the process.
    pub(crate) fn gone(self, step: u32, pid: i32, mm: u64) -> Bytes {
        let mut event = VictimGoneEvent::new_zeroed();
        event.header = self.header::<VictimGoneEvent>(kind::VICTIM_GONE, 0);
        (event.step, event.tgid, event.tid, event.mm) = (step, pid, pid, mm);
        record(&event, &[])
    }
}

pub(crate) fn task(pid: i32, uid: u32, cgroup_id: u64, name: &str) -> TaskFacts {
    let mut comm = [0; COMM_LEN];
    comm.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    TaskFacts { start_boottime_ns: 1, cgroup_id, tgid: pid, tid: pid, uid, oom_score_adj: 0, comm }
}

pub(crate) fn record<T: IntoBytes + Immutable>(head: &T, rest: &[u8]) -> Bytes {
    [head.as_bytes(), rest].concat().into()
}

/// Adds records, and reports the accounts that they complete.
pub(crate) fn handle(pipeline: &mut Pipeline, records: impl IntoIterator<Item = Bytes>) {
    for record in records {
        let accounts = pipeline.handle_record(&record, &mut NoSource).unwrap();
        pipeline.report(accounts, &mut NoSource).unwrap();
    }
}
