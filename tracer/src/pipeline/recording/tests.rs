//! Recordings that are complete, torn, damaged or foreign.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use bytes::Bytes;

use oomwhy_common::WIRE_VERSION;

use super::{Fact, Frame, MAX_FRAME, Recording, RecordingError, Skipped, Writer, first_line, read};
use crate::model::{
    gfp::GfpFlag,
    host::Host,
    names::Symbol,
    report::{LossReason, LossStage, Missing, System, Tier},
};

fn host() -> Host {
    Host {
        boot_id: Some("8f0c0001-boot".to_owned()),
        kernel: Some("6.12.0".to_owned()),
        page_size: 4096,
        realtime_offset_ns: -1,
        gfp_flags: vec![GfpFlag { name: "__GFP_IO".to_owned(), bit: 6 }],
        hooks: [("out_of_memory".to_owned(), "fentry".to_owned())].into(),
        missing: vec![Missing {
            field: "trigger.user_stack".to_owned(),
            why: "no reason".to_owned(),
        }],
        memory_on_v2: Some(true),
        ..Host::of_tier(Tier::Fentry)
    }
}

/// Frames of every kind.
fn frames() -> Vec<Frame> {
    let symbol = Symbol { name: "out_of_memory".to_owned(), offset: 599, module: None };
    let facts = [
        Fact::Symbol { ip: u64::MAX, symbol },
        Fact::CgroupPath { id: 1 << 60, path: "/a \"b\"\n".to_owned() },
        Fact::System {
            seq: 7,
            at_ns: 8,
            memory: Box::new(System { free_bytes: Some(0), ..System::default() }),
        },
        Fact::RealtimeOffset(i64::MIN),
        Fact::Drops {
            count: 3,
            kills: Some(2),
            kills_by_reason: BTreeMap::from([(LossReason::GroupMember, 2)]),
            first_ns: 1,
            last_ns: 2,
        },
        Fact::ProbeMisses { program: "exit_mmap_ret".to_owned(), count: 2, at_ns: 3 },
        Fact::Dropped {
            stage: LossStage::Names,
            reason: Some(LossReason::Late),
            count: 2,
            since_ns: 1,
            at_ns: 3,
        },
        Fact::KillsCounted { kills: 5, at_ns: 8 },
        Fact::Tick(9),
        Fact::End,
    ];
    let records = [b"".as_slice(), b"oomwhy-rec2\n", &[0xff; 300]]
        .map(|bytes| Frame::Record(Bytes::copy_from_slice(bytes)));
    records.into_iter().chain(facts.map(Frame::Fact)).collect()
}

/// Writes all [`frames`] and returns where each ends, the host's first.
fn record(path: &Path) -> Vec<usize> {
    let length = || usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
    let mut writer = Writer::create(path, &host()).unwrap();
    let mut ends = vec![length()];
    for frame in frames() {
        match frame {
            Frame::Record(bytes) => writer.record(&bytes).unwrap(),
            Frame::Fact(fact) => writer.fact(&fact).unwrap(),
        }
        ends.push(length());
    }
    ends
}

/// Reads a file with this content.
fn read_bytes(bytes: &[u8]) -> Result<Recording, RecordingError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read(file.path())
}

fn recorded() -> (Vec<u8>, Vec<usize>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ends = record(file.path());
    (fs::read(file.path()).unwrap(), ends)
}

/// Damages the end of a recording, and checks that the frames before are read and the damage is
/// named.
#[track_caller]
fn check_damage(tail: &[u8], expected: &str) {
    let (mut bytes, _) = recorded();
    bytes.extend(tail);
    let recording = read_bytes(&bytes).unwrap();
    assert_eq!(recording.frames, frames());
    let Some(RecordingError::Damaged { whole, what, skipped, .. }) = recording.damage else {
        panic!("{expected}: no damage");
    };
    assert_eq!((whole, what.as_str()), (frames().len(), expected));
    assert_eq!(skipped, Skipped::default());
}

/// Puts a damaged frame before the others, and checks that it alone is skipped and named.
#[track_caller]
fn check_skipped(frame: &[u8], expected: &str) {
    let (bytes, ends) = recorded();
    let (host, rest) = bytes.split_at(ends[0]);
    let recording = read_bytes(&[host, frame, rest, frame].concat()).unwrap();
    assert_eq!(recording.frames, frames());
    let Some(RecordingError::Skipped { skipped, .. }) = &recording.damage else {
        panic!("{expected}: {:?}", recording.damage);
    };
    assert_eq!((skipped.count, &skipped.first), (2, &Some((2, expected.to_owned()))));
    let message = recording.damage.unwrap().to_string();
    assert!(message.contains("skipped 2 damaged frames, the first is number 2: "), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
}

#[test]
fn recording_is_read_back_unchanged() {
    let (bytes, _) = recorded();
    let recording = read_bytes(&bytes).unwrap();
    assert_eq!(recording.host, host());
    assert_eq!(recording.frames, frames());
    assert!(recording.damage.is_none());
}

#[test]
fn recording_cut_off_anywhere_gives_complete_frames_and_damage() {
    let (bytes, ends) = recorded();
    for length in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count();
        match read_bytes(&bytes[..length]) {
            Err(RecordingError::Foreign { .. }) => assert!(length < first_line().len(), "{length}"),
            Err(RecordingError::Damaged { whole: frames, .. }) => {
                assert!(length >= first_line().len() && whole == 0, "{length}");
                assert_eq!(frames, 0, "{length}");
            }
            Err(error) => panic!("{length}: {error}"),
            Ok(recording) => {
                assert_eq!(recording.frames, frames()[..whole - 1], "{length}");
                // A cut between two frames looks like the end of the recording.
                assert_eq!(recording.damage.is_none(), ends.contains(&length), "{length}");
            }
        }
    }
}

#[test]
fn foreign_file_is_refused_with_a_hint() {
    for bytes in [
        b"".as_slice(),
        b"oomwhy",
        b"oomwhy-rec\n",
        b"oomwhy-rec+3\n",
        b"oomwhy-rec3",
        b"oomwhy-rec99999999999999999999\n",
        b"{\"type\":\"oom\",\"schema\":1}\n",
        &[0; 4096],
    ] {
        let error = read_bytes(bytes).unwrap_err();
        assert!(matches!(error, RecordingError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("oomwhy --record FILE"), "{error}");
    }
    let error = read(Path::new("no/such/file")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the recording no/such/file: "), "{error}");
    // An unreadable file is not called foreign.
    let error = read(tempfile::tempdir().unwrap().path()).unwrap_err();
    assert!(matches!(error, RecordingError::Io { .. }), "{error}");
}

#[test]
fn recording_of_older_version_is_read() {
    let (bytes, _) = recorded();
    let frames_of = |bytes: &[u8]| read_bytes(bytes).unwrap().frames;
    let older = [b"oomwhy-rec2\n", &bytes[first_line().len()..]].concat();
    assert_eq!(frames_of(&older), frames_of(&bytes));
}

#[test]
fn recording_of_unknown_version_is_refused_with_a_hint() {
    for version in [0, 1, WIRE_VERSION + 1, 1000] {
        let error = read_bytes(format!("oomwhy-rec{version}\n").as_bytes()).unwrap_err();
        assert!(matches!(error, RecordingError::Version { version: it, .. } if it == version));
        assert!(error.to_string().contains("hint: replay it with"), "{error}");
    }
}

#[test]
fn recording_without_host_is_damaged_from_the_start() {
    for (first, expected) in [
        (b"".as_slice(), "the description of the host is missing"),
        (&[1, 0, 0, 0, 0], "the description of the host is missing"),
        (&[0, 2, 0, 0, 0, b'{', b'}'], "the description of the host cannot be read"),
        (&[0, 9, 0, 0, 0, b'{'], "cut off in a frame"),
    ] {
        let error = read_bytes(&[first_line().as_bytes(), first].concat()).unwrap_err();
        let RecordingError::Damaged { whole, what, .. } = error else {
            panic!("{error}");
        };
        assert!(whole == 0 && what.starts_with(expected), "{what}");
    }
}

#[test]
fn damage_after_complete_frames_is_named() {
    check_damage(&[1, 0xff, 0xff, 0xff, 0xff], "a frame of 4294967295 bytes");
    let [a, b, c, d] = (MAX_FRAME + 1).to_le_bytes();
    check_damage(&[1, a, b, c, d], "a frame of 1048577 bytes");
    let [a, b, c, d] = MAX_FRAME.to_le_bytes();
    check_damage(&[1, a, b, c, d, 0], "cut off in a frame");
    check_damage(&[1, 0, 0], "cut off in a frame");
}

#[test]
fn damaged_frame_is_skipped_and_later_frames_are_read() {
    check_skipped(&[7, 0, 0, 0, 0], "unknown frame kind 7");
    // The host is allowed at the start only.
    check_skipped(&[0, 0, 0, 0, 0], "unknown frame kind 0");
    check_skipped(&[2, 1, 0, 0, 0, b'x'], "a fact cannot be read");
    let unheard = [&[2, 9, 0, 0, 0], b"\"unheard\"".as_slice()].concat();
    check_skipped(&unheard, "the fact `unheard` cannot be read");
    // One flipped bit in the key of a fact.
    let flipped = [&[2, 10, 0, 0, 0], b"{\"tick\";9}".as_slice()].concat();
    check_skipped(&flipped, "the fact `tick` cannot be read");
}

#[test]
fn recording_is_for_its_owner_only_and_replaces_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kills.rec");
    record(&path);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let error = Writer::create(&path, &host()).unwrap_err();
    assert!(error.to_string().contains("kills.rec: exists already\nhint: "));
    assert_eq!(fs::read(&path).unwrap(), before);
    // An empty file, as mktemp makes it, is used.
    fs::write(&path, "").unwrap();
    drop(Writer::create(&path, &host()).unwrap());
    assert!(read(&path).unwrap().frames.is_empty());
    Writer::create(Path::new("/dev/null"), &host()).unwrap();
    let error = Writer::create(&directory.path().join("no/kills.rec"), &host()).unwrap_err();
    assert!(error.to_string().contains("cannot create the recording "), "{error}");
}

/// Recordings and pinned journals keep facts under these names.
#[test]
fn renamed_facts_keep_their_persisted_names() {
    let (reported, handed_over) = ([(7, 2)].into(), Vec::new());
    let resumed = Fact::Resumed { reported, since_ns: 1, until_ns: 9, handed_over };
    for (fact, expected) in [
        (Fact::NamesAwaited { seq: 7 }, r#"{"awaited":{"seq":7}}"#),
        (Fact::NamesReady { seq: 7 }, r#"{"settled":{"seq":7}}"#),
        (Fact::Flushed, r#""pressed""#),
        (resumed, r#"{"resumed":{"told":{"7":2},"since_ns":1,"until_ns":9}}"#),
    ] {
        assert_eq!(serde_json::to_string(&fact).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Fact>(expected).unwrap(), fact);
    }
}
