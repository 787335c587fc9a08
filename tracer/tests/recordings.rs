//! Replays recordings of real kills on real kernels (`cargo xtask fixtures` refreshes them): a
//! replay must print the live reports byte for byte. Tests everything from decode to sinks without
//! a kernel.

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
fn replay_has_same_facts_as_live_run() {
    let recordings = recordings();
    assert!(recordings.len() >= 20, "{} recordings", recordings.len());
    for recording in recordings {
        let live = fs::read_to_string(recording.with_extension("jsonl")).unwrap();
        let replayed = String::from_utf8(replay(&recording, "json")).unwrap();
        assert_eq!(facts(&replayed), facts(&live), "{}", recording.display());
    }
}

/// The lines without their verdicts, which are derived: a rule may change, a recording does not.
fn facts(lines: &str) -> Vec<String> {
    let facts = lines.lines().map(|line| {
        let parts = line
            .split_once(",\"verdict\":")
            .and_then(|(head, tail)| Some((head, tail.rsplit_once(",\"source\":")?.1)));
        parts.map_or(line.to_owned(), |(head, source)| format!("{head},\"source\":{source}"))
    });
    facts.collect()
}

#[test]
fn verdicts_of_real_kills_are_as_reviewed() {
    let mut verdicts = Vec::new();
    for recording in recordings() {
        let scenario = recording.with_extension("");
        let scenario: PathBuf = scenario.iter().rev().take(2).collect();
        let name: Vec<String> =
            scenario.iter().rev().map(|it| it.to_string_lossy().into()).collect();
        for line in String::from_utf8(replay(&recording, "json")).unwrap().lines() {
            let report: serde_json::Value = serde_json::from_str(line).unwrap();
            let verdict = &report["verdict"];
            let (cause, headline) = (&verdict["cause"], &verdict["headline"]);
            let (cause, headline) = (cause.as_str().unwrap(), headline.as_str().unwrap());
            verdicts.push(format!("{} {cause}: {headline}", name.join("/")));
        }
    }
    verdicts.sort();
    insta::assert_snapshot!(verdicts.join("\n"));
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
