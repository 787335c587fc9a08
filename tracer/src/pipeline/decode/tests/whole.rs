//! Complete records, field by field. All values of a record differ, so that no field can be
//! confused with another one.

use std::mem::offset_of;

use oomwhy_common::{
    event::{
        COMM_LEN, EndEvent, EventHeader, InvocationEvent, KERNEL_FRAMES, USER_FRAMES, chosen,
        context as part,
    },
    valid::{self, shed},
};
use serde_json::{Value, json};
use zerocopy::IntoBytes;

use super::{
    super::decode,
    wire::{
        candidates, cgroup_made, context, end, entry, invocation, kill, levels, mark, parents,
        path, reclaimed, records, repeats, stat, victim, victim_gone, wait,
    },
};
use crate::model::events::{Body, Chosen, Event, Name};

fn decoded(record: impl AsRef<[u8]>) -> Event {
    decode(record.as_ref()).unwrap()
}

/// Compares the line of `-o events`, without the fields of every event.
#[track_caller]
fn check(record: &[u8], expected: &Value) {
    let event = decoded(record);
    assert_eq!((event.boottime_ns, event.cpu, event.seq), (7_000_000_001, 1, 3));
    let Value::Object(mut body) = serde_json::to_value(&event).unwrap() else {
        panic!("an event is an object");
    };
    body.retain(|key, _| !["boottime_ns", "cpu", "seq"].contains(&key.as_str()));
    assert_eq!(&Value::Object(body), expected);
}

fn task(tgid: i32) -> Value {
    json!({"tgid": tgid, "tid": tgid + 1, "comm": "java", "uid": 1000, "start_boottime_ns": 11,
        "oom_score_adj": -16, "cgroup_id": 12})
}

fn memcg() -> Value {
    json!({"id": 1_u64 << 54, "memory": {"usage": 21, "max": 22}, "swap": {"usage": 23, "max": 24},
        "oom_group": true})
}

#[test]
fn invocation_is_decoded_field_by_field() {
    let build_id = "ab".repeat(20);
    check(
        invocation().as_bytes(),
        &json!({"event": "invocation", "started_ns": 6000, "trigger": task(100),
            "totalpages": 131_072, "chosen_points": -5, "gfp_mask": 0xcc0, "order": -1,
            "constraint": 3, "is_memcg": true, "oom_memcg": memcg(),
            "chosen": {"tgid": 200, "tid": 201, "comm": "java", "uid": 1000},
            "considered": 40, "choice_made": true, "nodemask": 2, "mems_allowed": 3,
            "message": "Out of memory",
            "kernel_stack": [0xffff_8000_0000_0010_u64, 0xffff_8000_0000_0020_u64],
            "user_stack": [{"build_id": build_id, "file_offset": 0x1234}, {"ip": 0x1234}]}),
    );
}

#[test]
fn records_of_other_kinds_are_decoded_field_by_field() {
    let entry = |order: u32| {
        json!({"tgid": 300, "tid": 301, "comm": "java", "uid": 1000, "points": 1500,
            "refused": false, "counts": [1, 2, 3, 4], "pgtables_bytes": 8192, "total_vm": 900,
            "oom_score_adj": 500, "flags": entry(0).flags, "order": order})
    };
    check(
        &candidates(2),
        &json!({"event": "candidates", "considered": 77, "list": [entry(0), entry(1)]}),
    );
    let level = json!({"memory": {"usage": 31, "max": 32}, "high": 33, "low": 34, "min": 35,
        "swap": {"usage": 36, "max": 37}, "kmem": {"usage": 38, "max": 39}});
    check(
        &levels(2),
        &json!({"event": "levels", "cgroup_id": 4711, "list": [level, level], "truncated": true}),
    );
    let mut marked = task(200);
    marked["event"] = json!("victim");
    marked["vpid"] = json!(1);
    marked["memory"] = json!({"counts": [1, 2, 3, -4], "pgtables_bytes": 8192, "total_vm": 900});
    marked["per_cpu"] = json!([5, -6, 7, 8]);
    marked["mm"] = json!(0xffff_8880_0000_0000_u64);
    marked["shares_mm"] = json!(true);
    marked["without_swap"] = json!(true);
    check(victim().as_bytes(), &marked);
    check(repeats().as_bytes(), &json!({"event": "repeats", "count": 23_648, "last_ns": 9}));
    check(
        reclaimed().as_bytes(),
        &json!({"event": "reclaimed", "trigger": task(100), "oom_memcg": memcg(),
            "gfp_mask": 0xcc0, "order": 2, "count": 8}),
    );
    check(cgroup_made().as_bytes(), &json!({"event": "cgroup_made", "id": 5, "parent_id": 1}));
    check(
        victim_gone().as_bytes(),
        &json!({"event": "after", "what": "freeing", "tgid": 200, "tid": 201,
            "mm": 0xffff_8880_0000_0000_u64, "counts": [1, 2, 3, -4]}),
    );
    check(
        mark().as_bytes(),
        &json!({"event": "mark", "tid": 201, "fields": {"comm": "java", "uid": 1000,
            "oom_score_adj": -16, "total_vm_kib": 1, "anon_kib": 2, "file_kib": 3,
            "shmem_kib": 4, "pgtables_kib": 5}}),
    );
    check(
        wait().as_bytes(),
        &json!({"event": "wait", "trigger": task(100), "oom_memcg": memcg(), "gfp_mask": 0xcc0,
            "order": 2, "ended": true}),
    );
    let Body::Stat(stat) = decoded(stat().as_bytes()).body else {
        panic!("not statistics");
    };
    assert!(stat.fresh);
    assert_eq!(stat.counters[..3], [41, -42, 0]);
    assert_eq!(stat.fields.unwrap()[..3], [1, 0xff, 0]);
}

/// Shows fields that were appended after the records above were written. Each byte of a record has
/// its position as value, and each validity bit is set.
#[test]
#[cfg(target_endian = "little")]
fn records_of_counted_bytes_match_their_snapshots() {
    for (name, mut record) in records() {
        // The others have a length in their body.
        if ["victim", "kill", "end", "reclaimed", "victim_gone", "wait", "mark"].contains(&name) {
            record[offset_of!(EventHeader, valid)..][..8].fill(u8::MAX);
            for (position, byte) in record.iter_mut().enumerate().skip(size_of::<EventHeader>()) {
                *byte = u8::try_from(position).unwrap();
            }
            insta::assert_json_snapshot!(name, decoded(record));
        }
    }
}

/// These bytes are written by hand, because the structs of both halves could change together.
#[test]
#[cfg(target_endian = "little")]
fn end_is_decoded_from_golden_bytes() {
    let golden = [
        0x01, 0x86, 0x3b, 0xa1, 1, 0, 0, 0, // boottime_ns
        3, 0, 0, 0, 0, 0, 0, 0, // seq
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, // valid
        5, 0, 0, 0, 80, 0, 0, 0, // kind, size
        1, 0, 0, 0, 0, 0, 0, 0, // cpu, reserved
        1, 0, 0, 0, 1, 0, 0, 0, // result, chosen
        2, 0, 0, 0, 3, 0, 0, 0, // kill_calls, victims
        1, 0, 0, 0, 4, 0, 0, 0, // selected, oom_kill_calls
        0x61, 0, 0, 0, 0xff, 0, 0, 0, // facts, facts_known
        6, 0, 0, 0, 0, 0, 0, 0, // processes, reserved
    ];
    assert_eq!(end().as_bytes(), golden);
    // Up to version 3 the record ended before the facts, and had no validity bits.
    let mut older = golden[..64].to_vec();
    older[16..24].fill(0);
    older[28] = 64;
    assert_eq!(decoded(older), decoded(older_end().as_bytes()));
}

#[test]
fn end_is_decoded_field_by_field() {
    check(
        end().as_bytes(),
        &json!({"event": "end", "kill_calls": 2, "shots": 4, "victims": 3, "facts": {
            "trigger_is_victim": true, "trigger_is_dying": false, "suspended": false,
            "has_notifiers": false, "without_fs": false, "is_memcg": true, "evaluated": true,
            "printed": false}, "processes": 6}),
    );
    check(
        older_end().as_bytes(),
        &json!({"event": "end", "result": true, "chosen": "task", "kill_calls": 2, "shots": 4,
            "victims": 3, "selected": true}),
    );
}

/// The end as of probes at the return of `out_of_memory`.
fn older_end() -> EndEvent {
    let mut event = end();
    event.header.valid = 0;
    event
}

#[test]
fn kill_is_decoded_field_by_field() {
    let mut killed = task(200);
    killed["event"] = json!("kill");
    killed["cause"] = json!("group_member");
    killed["oom_memcg_id"] = json!(1_u64 << 54);
    killed["is_memcg"] = json!(true);
    killed["counts"] = json!([1, 2, 3, -4]);
    killed["pgtables_bytes"] = json!(8192);
    check(kill().as_bytes(), &killed);
}

#[test]
fn shed_details_are_named_by_every_record() {
    let mut event = end();
    event.header.valid |= shed::CANDIDATES | shed::STACKS | 1 << 63;
    let line = serde_json::to_value(decoded(event.as_bytes())).unwrap();
    assert_eq!(line["shed"], json!(["candidates", "stacks"]));
    let line = serde_json::to_value(decoded(end().as_bytes())).unwrap();
    assert!(line.get("shed").is_none());
}

#[test]
fn path_is_read_from_root_without_cut_off_name() {
    // The longest recorded path has 16 names of 255 bytes, each with its NUL.
    let longest = [[b'x'; 255].as_slice(), b"\0"].concat().repeat(16);
    assert_eq!(longest.len(), 4096);
    let longest_name = "x".repeat(255);
    for (bytes, expected, truncated) in [
        (b"".as_slice(), vec![], false),
        (b"system.slice\0", vec!["system.slice"], false),
        (b"app\0pod\0kubepods\0", vec!["kubepods", "pod", "app"], false),
        (&longest, vec![longest_name.as_str(); 16], false),
        (b"app\0pod\0kubep", vec!["pod", "app"], true),
        (b"ap", vec![], true),
    ] {
        let Body::Path(path) = decoded(path(bytes)).body else {
            panic!("not a path");
        };
        let names = expected.iter().map(|it| Name(it.as_bytes().to_vec()));
        assert_eq!(path.names, names.collect::<Vec<_>>(), "{bytes:?}");
        assert_eq!(path.truncated, truncated, "{bytes:?}");
    }
    for (text, expected, truncated) in [
        (b"/\0stale".as_slice(), vec![], false),
        (b"/kubepods/pod/app\0/old.slice\0", vec!["kubepods", "pod", "app"], false),
        (b"/kubepods/pod/ap", vec!["kubepods", "pod", "ap"], true),
    ] {
        let mut bytes = path(text);
        bytes[16..24].copy_from_slice(&valid::path::KERNEL_TEXT.to_ne_bytes());
        let Body::Path(path) = decoded(bytes).body else {
            panic!("not a path");
        };
        let names = expected.iter().map(|it| Name(it.as_bytes().to_vec()));
        assert_eq!(path.names, names.collect::<Vec<_>>(), "{text:?}");
        assert_eq!(path.truncated, truncated, "{text:?}");
    }
    let mut truncated = path(b"app\0");
    truncated[size_of::<EventHeader>() + 12] = 1;
    assert!(matches!(decoded(truncated).body, Body::Path(path) if path.truncated));
}

#[test]
fn name_ends_at_first_nul_and_keeps_invalid_utf8() {
    for (comm, expected) in [
        (*b"java\0stale-bytes", b"java".as_slice()),
        (*b"fifteen bytes !\0", b"fifteen bytes !"),
        // The kernel always writes a NUL; a reader that relies on it would read on.
        (*b"sixteen bytes !!", b"sixteen bytes !!"),
        ([0; COMM_LEN], b""),
        (*b"\xff\xfe\n\x1b[31m\0stale!!", b"\xff\xfe\n\x1b[31m"),
    ] {
        let mut event = victim();
        event.task.comm = comm;
        let Body::Victim(victim) = decoded(event.as_bytes()).body else {
            panic!("not a victim");
        };
        assert_eq!(victim.task.comm.0, expected);
    }
}

#[test]
fn frames_past_the_arrays_are_not_read() {
    let mut event: InvocationEvent = invocation();
    event.kernel_stack = [1; KERNEL_FRAMES];
    event.user_stack = [event.user_stack[0]; USER_FRAMES];
    for (announced, kept) in [(0, 0), (1, 1), (32, 32), (u32::MAX, usize::MAX)] {
        (event.kernel_frames, event.user_frames) = (announced, announced);
        let Body::Invocation(invocation) = decoded(event.as_bytes()).body else {
            panic!("not an invocation");
        };
        let kernel_stack = invocation.kernel_stack.unwrap();
        assert_eq!(kernel_stack.len(), kept.min(KERNEL_FRAMES));
        let user_stack = invocation.user_stack.unwrap();
        assert_eq!(user_stack.len(), kept.min(USER_FRAMES));
    }
}

#[test]
fn chosen_at_the_end_is_named_or_unknown() {
    for (value, expected) in [
        (chosen::NOBODY, Chosen::Nobody),
        (chosen::TASK, Chosen::Task),
        (chosen::ABORTED, Chosen::Aborted),
        (chosen::UNKNOWN, Chosen::Unknown),
        (9, Chosen::Unknown),
    ] {
        let mut event = older_end();
        event.chosen = value;
        let Body::End(end) = decoded(event.as_bytes()).body else {
            panic!("not an end");
        };
        assert_eq!(end.chosen, Some(expected));
    }
}

#[test]
fn context_is_decoded_part_by_part() {
    let with = |part: Value| {
        let mut event = json!({"event": "context", "tgid": 200, "tid": 201, "truncated": false});
        event.as_object_mut().unwrap().append(&mut part.as_object().unwrap().clone());
        event
    };
    for (bytes, arguments) in [
        (b"java\0-jar\0a b\0".as_slice(), json!(["java", "-jar", "a b"])),
        (b"java\0\0\0", json!(["java", "", ""])),
        (b"nginx: worker process", json!(["nginx: worker process"])),
        (b"java\0cut o", json!(["java", "cut o"])),
    ] {
        check(&context(part::CMDLINE, bytes), &with(json!({ "cmdline": arguments })));
    }
    let exe = json!({"exe": ["usr", "bin", "java"]});
    check(&context(part::EXE, b"java\0bin\0usr\0"), &with(exe));
    let parents_of = json!([{"tgid": 7, "comm": "java"}, {"tgid": 1, "comm": "java"}]);
    check(&parents(), &with(json!({ "parents": parents_of })));
    let frames = json!({"user_stack": [{"build_id": "ab".repeat(20), "file_offset": 0x1234}]});
    let stack = invocation().user_stack[0];
    check(&context(part::USER_STACK, stack.as_bytes()), &with(frames));
    let mut unread = context(part::EXE, b"");
    unread[20] &= !0x10;
    check(&unread, &with(json!({"unread": "exe"})));
    check(&context(99, b""), &with(json!({"unread": "unknown"})));
}
