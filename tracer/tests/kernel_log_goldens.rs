//! Compares the report of each kernel log in tests/fixtures/kmsg with a golden file.
//!
//! A `*.golden.json` is written from the text of the log. It is never copied from the output of the
//! parser or of the oracle (tests/src/kmsg), so it finds a misreading that both share. A golden
//! holds part of the report: each of its values must be equal in the report. A `null` means that
//! the key must be absent, because the log does not have that fact.
#![expect(clippy::unwrap_used, reason = "clippy excuses #[test] functions, not their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use serde_json::Value;

fn logs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kmsg");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|file| file.extension().is_some_and(|kind| kind == "txt")).collect()
}

fn explain(log: &Path) -> Vec<Value> {
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.arg("explain").arg(log).args(["-o", "json"]).assert().success();
    let lines = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lists the paths at which the report differs from the golden.
fn differences(golden: &Value, report: &Value, path: &str) -> Vec<String> {
    match (golden, report) {
        (Value::Object(golden), Value::Object(report)) => {
            let absent = Value::Null;
            let keys = golden.iter().map(|(key, value)| {
                differences(value, report.get(key).unwrap_or(&absent), &format!("{path}.{key}"))
            });
            keys.flatten().collect()
        }
        (Value::Array(golden), Value::Array(report)) if golden.len() == report.len() => {
            let pairs = golden.iter().zip(report).enumerate();
            pairs.flat_map(|(at, (a, b))| differences(a, b, &format!("{path}[{at}]"))).collect()
        }
        _ if golden == report => Vec::new(),
        _ => vec![format!("{path}: {golden} in the golden, {report} in the report")],
    }
}

#[test]
fn kernel_log_report_equals_hand_written_golden() {
    let logs = logs();
    assert!(logs.len() >= 16, "{} logs", logs.len());
    let mut all = Vec::new();
    for log in logs {
        let golden = fs::read(log.with_extension("golden.json"));
        let golden = golden.unwrap_or_else(|error| panic!("no golden of {log:?}: {error}"));
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        let [report] = explain(&log).try_into().unwrap();
        let name = log.file_stem().unwrap().to_string_lossy();
        all.extend(differences(&golden, &report, &name));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// An empty golden would pass with any parser.
#[test]
fn golden_names_victim_limit_and_candidates() {
    for log in logs() {
        let golden = fs::read(log.with_extension("golden.json")).unwrap();
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        let memcg = golden["oom_memcg"]["max_bytes"].is_u64();
        assert!(memcg || golden["system"]["total_bytes"].is_u64(), "{log:?}");
        for path in [
            "/outcome",
            "/constraint",
            "/message",
            "/trigger/pid",
            "/trigger/comm",
            "/trigger/gfp_mask/value",
            "/trigger/kernel_stack/0/symbol",
            "/candidates/considered",
            "/candidates/list/1/oom_score_adj",
            "/victims/0/pid",
            "/victims/0/anon_rss_bytes",
            "/victims/0/pgtables_bytes",
        ] {
            assert!(golden.pointer(path).is_some_and(|it| !it.is_null()), "{log:?} {path}");
        }
    }
}

#[test]
fn golden_difference_in_value_key_or_length_is_found() {
    let golden = serde_json::json!({"a": {"b": 1}, "c": [1, 2], "d": null});
    let found = |report| differences(&golden, &report, "").len();
    assert_eq!(found(serde_json::json!({"a": {"b": 1, "more": 2}, "c": [1, 2]})), 0);
    assert_eq!(found(serde_json::json!({"a": {"b": 2}, "c": [1, 2]})), 1);
    assert_eq!(found(serde_json::json!({"a": {}, "c": [1, 2]})), 1);
    assert_eq!(found(serde_json::json!({"a": {"b": 1}, "c": [1, 2, 3]})), 1);
    assert_eq!(found(serde_json::json!({"a": {"b": 1}, "c": [1, 2], "d": 0})), 1);
}
