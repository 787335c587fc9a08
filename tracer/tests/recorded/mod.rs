//! A small recording, made as a live run makes it.

#![allow(dead_code, reason = "each test binary has its own part of it")]

use std::{collections::BTreeMap, fs, path::Path};

use oomwhy::testing::{Fact, Host, RecordingWriter, Tier};
use oomwhy_common::{
    event::{EndEvent, EventHeader, InvocationEvent, TaskFacts, VictimEvent, chosen, kind},
    valid,
};
use zerocopy::{FromZeros, IntoBytes};

/// Records the kills of 100 and 200, three records each, and returns the file's length before the
/// last frame, which says that the run ended.
pub(crate) fn two_kills(path: &Path) -> usize {
    let mut writer = start(path);
    for (seq, tgid) in [(1, 100), (2, 200)] {
        kill(&mut writer, seq, tgid);
    }
    let length = fs::metadata(path).unwrap().len();
    writer.fact(&Fact::End).unwrap();
    usize::try_from(length).unwrap()
}

/// Records two of the four kills that the kernel has counted, and the loss of six records.
pub(crate) fn two_kills_of_four(path: &Path) {
    let mut writer = start(path);
    let counted = |kills, second: u64| Fact::KillsCounted { kills, at_ns: second * 1_000_000_000 };
    writer.fact(&counted(70, 0)).unwrap();
    kill(&mut writer, 1, 100);
    let none = BTreeMap::new();
    let drops =
        Fact::Drops { count: 6, kills: None, kills_by_reason: none, first_ns: 1, last_ns: 2 };
    writer.fact(&drops).unwrap();
    kill(&mut writer, 4, 200);
    writer.fact(&counted(74, 4)).unwrap();
    writer.fact(&counted(74, 5)).unwrap();
    writer.fact(&counted(74, 600)).unwrap();
    writer.fact(&Fact::End).unwrap();
    writer.fact(&counted(74, 601)).unwrap();
}

fn start(path: &Path) -> RecordingWriter {
    let host = Host {
        boot_id: Some("boot".to_owned()),
        hostname: Some("example".to_owned()),
        kernel: Some("6.12.0".to_owned()),
        page_size: 4096,
        realtime_offset_ns: 1_767_225_600_000_000_000,
        hooks: BTreeMap::from([("mark_victim".to_owned(), "tp_btf".to_owned())]),
        memory_on_v2: Some(true),
        ..Host::of_tier(Tier::Fentry)
    };
    RecordingWriter::create(path, &host).unwrap()
}

fn kill(writer: &mut RecordingWriter, seq: u64, tgid: i32) {
    let mut task = TaskFacts::new_zeroed();
    (task.tgid, task.tid) = (tgid, tgid);
    task.comm[..4].copy_from_slice(b"java");

    let mut invocation = InvocationEvent::new_zeroed();
    invocation.header = header(kind::INVOCATION, seq, size_of::<InvocationEvent>());
    invocation.header.valid = valid::invocation::OOM_CONTROL | valid::invocation::CHOSEN;
    invocation.started_ns = seq * 1_000_000_000;
    (invocation.trigger, invocation.chosen) = (task, task);
    invocation.choice_made = 1;
    writer.record(invocation.as_bytes()).unwrap();

    let mut victim = VictimEvent::new_zeroed();
    victim.header = header(kind::VICTIM, seq, size_of::<VictimEvent>());
    victim.task = task;
    writer.record(victim.as_bytes()).unwrap();

    let mut end = EndEvent::new_zeroed();
    end.header = header(kind::END, seq, size_of::<EndEvent>());
    (end.result, end.chosen, end.selected) = (1, chosen::TASK, 1);
    (end.kill_calls, end.victims, end.oom_kill_calls) = (1, 1, 1);
    writer.record(end.as_bytes()).unwrap();
}

fn header(kind: u32, seq: u64, size: usize) -> EventHeader {
    EventHeader {
        boottime_ns: seq * 1_000_000_000,
        seq,
        valid: 0,
        kind,
        size: u32::try_from(size).unwrap(),
        cpu: 0,
        reserved: 0,
    }
}
