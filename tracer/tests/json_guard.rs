//! Snapshots of the JSON that no other test compares byte for byte: the reports of kernel logs, and
//! verdict and fingerprint of recordings. recordings.rs compares the rest of a recording's reports.
//! A refactoring must not change these snapshots.
#![expect(clippy::unwrap_used, reason = "clippy excuses #[test] functions, not their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;

fn files(folder: &str, kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder);
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == kind) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn json(verb: &str, file: &Path) -> String {
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.arg(verb).arg(file).args(["-o", "json"]).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn kernel_log_json_is_unchanged_to_the_byte() {
    let logs = files("kmsg", "txt");
    assert!(logs.len() >= 16, "{} logs", logs.len());
    let reports: String = logs.iter().map(|log| json("explain", log)).collect();
    insta::assert_snapshot!(reports);
}

#[test]
fn recording_verdict_json_is_unchanged_to_the_byte() {
    let recordings = files("wire", "rec");
    assert!(recordings.len() >= 39, "{} recordings", recordings.len());
    let mut verdicts = Vec::new();
    for recording in recordings {
        let name = recording.iter().skip(recording.iter().count() - 2).collect::<PathBuf>();
        for report in json("replay", &recording).lines() {
            // The fingerprint is between the verdict and the source.
            let (_, rest) = report.split_once(",\"verdict\":").unwrap();
            let (verdict, _) = rest.rsplit_once(",\"source\":").unwrap();
            verdicts.push(format!("{}: {verdict}", name.display()));
        }
    }
    insta::assert_snapshot!(verdicts.join("\n"));
}
