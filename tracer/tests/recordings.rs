//! Recordings of real kills on real kernels (`cargo xtask fixtures` refreshes them): what was
//! reported live comes out of a replay byte for byte. Decode to sinks, without a kernel.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;

fn recordings() -> Vec<PathBuf> {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire");
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let files = list(&wire).into_iter().flat_map(|kernel| list(&kernel));
    files.filter(|file| file.extension().is_some_and(|kind| kind == "rec")).collect()
}

fn replay(recording: &Path, format: &str) -> Vec<u8> {
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.arg("replay").arg(recording).args(["-o", format]).assert();
    let assert = assert.success();
    assert.get_output().stdout.clone()
}

#[test]
fn a_replay_says_byte_for_byte_what_the_live_run_said() {
    let recordings = recordings();
    assert!(recordings.len() >= 20, "{} recordings", recordings.len());
    for recording in recordings {
        let live = fs::read_to_string(recording.with_extension("jsonl")).unwrap();
        let replayed = String::from_utf8(replay(&recording, "json")).unwrap();
        assert_eq!(replayed, live, "{}", recording.display());
    }
}

#[test]
fn every_recording_has_a_text_report_that_names_its_victims_and_their_limit() {
    for recording in recordings() {
        let text = String::from_utf8(replay(&recording, "text")).unwrap();
        assert!(text.contains("OOM: killed "), "{}: {text}", recording.display());
        let limit = text.contains(" hit its ") || text.contains("host out of memory");
        assert!(limit, "{}: {text}", recording.display());
        assert!(text.lines().all(|line| line.chars().count() < 80), "{}", recording.display());
    }
}

#[test]
fn every_record_of_every_recording_is_an_event() {
    for recording in recordings() {
        let events = String::from_utf8(replay(&recording, "events")).unwrap();
        let ends = events.lines().filter(|line| line.contains("\"event\":\"end\"")).count();
        assert!(ends > 0, "{}: {events}", recording.display());
    }
}
