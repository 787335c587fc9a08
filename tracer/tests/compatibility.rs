//! The contract of docs/record.md: a later build adds keys, but renames, removes and retypes none.
//!
//! Each folder of tests/fixtures/compat holds the output of one commit: `schema.json` (`oomwhy
//! schema`) and `reports.jsonl`. The reports are those of recordings, kernel logs and losses, and
//! synthetic ones that went through `oomwhy explain -o json`: with every key and every enum value,
//! and with none but the required keys.
#![expect(clippy::unwrap_used, reason = "clippy excuses #[test] functions, not their helpers")]

mod reader;
mod recorded;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use jsonschema::Validator;
use serde_json::Value;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder)
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Runs oomwhy and parses each line that it prints.
fn oomwhy(arguments: &[&str], file: &Path) -> Vec<Value> {
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.args(arguments).arg(file).args(["-o", "json"]).assert().success();
    lines(&assert.get_output().stdout)
}

fn lines(text: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(text).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every report that this build makes of the fixtures, and those that it reads.
fn current_reports() -> Vec<Value> {
    let mut reports = new_reports();
    for folder in stored() {
        reports.extend(oomwhy(&["explain"], &folder.join("reports.jsonl")));
    }
    reports
}

/// Every report that this build makes of recordings, kernel logs, and a recording with a loss and a
/// gap.
fn new_reports() -> Vec<Value> {
    let mut reports = Vec::new();
    for file in list(&fixtures("wire")).iter().flat_map(|kernel| list(kernel)) {
        if file.extension().is_some_and(|kind| kind == "rec") {
            reports.extend(oomwhy(&["replay"], &file));
        }
    }
    for file in list(&fixtures("kmsg")) {
        if file.extension().is_some_and(|kind| kind == "txt") {
            reports.extend(oomwhy(&["explain"], &file));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("kills.rec");
    recorded::two_kills_of_four(&recording);
    reports.extend(oomwhy(&["replay"], &recording));
    reports
}

#[test]
fn every_record_has_an_id_and_a_revision() {
    let reports = new_reports();
    for kind in ["oom", "gap", "loss"] {
        let of_kind: Vec<_> = reports.iter().filter(|report| report["type"] == kind).collect();
        assert!(!of_kind.is_empty(), "{kind}");
        for report in of_kind {
            assert!(report["id"].as_str().is_some_and(|id| id.len() > 20), "{report}");
            let revision = report["revision"].as_u64().unwrap();
            assert!(revision == 1 || kind == "oom" && revision == 2, "{report}");
        }
    }
    // A report that was provisional is final in its second revision.
    let second = reports.iter().filter(|report| report["revision"] == 2);
    assert!(second.count() > 20);
}

fn stored() -> Vec<PathBuf> {
    list(&fixtures("compat"))
}

fn stored_schema(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("schema.json")).unwrap()).unwrap()
}

fn stored_reports(folder: &Path) -> Vec<Value> {
    lines(&fs::read(folder.join("reports.jsonl")).unwrap())
}

fn current_schema() -> Value {
    let assert = Command::cargo_bin("oomwhy").unwrap().arg("schema").assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

/// Also checks formats, such as that of a time.
fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// Each report that does not fit the schema, with the reason.
fn misfits(schema: &Value, reports: &[Value]) -> Vec<String> {
    let validator = validator(schema);
    let misfits = reports.iter().filter_map(|report| {
        let error = validator.validate(report).err()?;
        Some(format!("{} {}: {error} at {}", report["type"], report["id"], error.instance_path()))
    });
    misfits.collect()
}

#[test]
fn stored_report_is_valid_under_current_schema() {
    let schema = current_schema();
    for folder in stored() {
        let misfits = misfits(&schema, &stored_reports(&folder));
        assert!(misfits.is_empty(), "{folder:?}:\n{}", misfits.join("\n"));
    }
}

#[test]
fn current_report_is_valid_under_every_stored_schema() {
    let reports = current_reports();
    assert!(reports.len() >= 80, "{} reports", reports.len());
    for folder in stored() {
        let misfits = misfits(&stored_schema(&folder), &reports);
        assert!(misfits.is_empty(), "{folder:?}:\n{}", misfits.join("\n"));
    }
}

#[test]
fn current_and_stored_reports_are_read_by_frozen_reader() {
    let stored = stored().iter().flat_map(|folder| stored_reports(folder)).collect::<Vec<_>>();
    for report in current_reports().iter().chain(&stored) {
        if let Err(error) = reader::read(report) {
            panic!("{error}: {report}");
        }
    }
}

/// A reader that accepts a report but finds nothing in it is of no use.
#[test]
fn frozen_reader_finds_victims_limits_and_losses() {
    let reports = current_reports();
    let read = reports.iter().map(|report| reader::read(report).unwrap());
    let summaries: Vec<String> = read.map(|record| record.summary()).collect();
    for expected in [
        "memcg /pod.slice/ctr1 50331648: Killed hog 48 MiB",
        "memcg /pod.slice 67108864: Killed hog 64 MiB sleep 1 MiB",
        "memcg /kubepods/pod7 67108864: Killed worker 61 MiB",
        "host: Killed hog 649 MiB",
        "gap: 2 of 4",
        "loss: 6",
    ] {
        let is_there = summaries.iter().any(|summary| summary.starts_with(expected));
        assert!(is_there, "{expected:?} is not in:\n{}", summaries.join("\n"));
    }
}

/// Schema and reader accept a report without its optional keys. So this test compares two reports
/// of the same kill: each key of the older one must be in the newer one, with the same type.
/// `verdict` and `source` are exempt, because a list in them may become empty.
#[test]
fn current_report_has_every_key_of_stored_report_of_same_kill() {
    let current = current_reports();
    let mut n_same = 0;
    for stored in stored().iter().flat_map(|folder| stored_reports(folder)) {
        let Some(id) = stored["id"].as_str() else { continue };
        let Some(same) = current.iter().find(|it| it["id"] == id) else { continue };
        let (mut had, mut has) = (BTreeSet::new(), BTreeSet::new());
        paths(&stored, "", &mut had);
        paths(same, "", &mut has);
        let lost: Vec<&String> = had.difference(&has).collect();
        assert!(lost.is_empty(), "{id}: {lost:#?}");
        n_same += 1;
    }
    assert!(n_same >= 30, "{n_same} kills");
}

/// Every key with the type of its value.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                paths(value, &format!("{path}.{key}"), all);
            }
        }
        Value::Array(list) => list.iter().for_each(|item| paths(item, &format!("{path}[]"), all)),
        _ if path.starts_with(".verdict.") || path.starts_with(".source.") => {}
        Value::Null => {}
        Value::Bool(_) => _ = all.insert(format!("{path}: boolean")),
        Value::Number(_) => _ = all.insert(format!("{path}: number")),
        Value::String(_) => _ = all.insert(format!("{path}: string")),
    }
}

#[test]
fn stored_reports_have_every_key_and_every_enum_value_of_their_schema() {
    for folder in stored() {
        let (mut keys, mut values) = (BTreeSet::new(), BTreeSet::new());
        named_by_schema(&stored_schema(&folder), &mut keys, &mut values);
        for report in stored_reports(&folder) {
            remove_used(&report, &mut keys, &mut values);
        }
        assert!(keys.is_empty() && values.is_empty(), "{folder:?}: {keys:?} {values:?}");
    }
}

fn named_by_schema(schema: &Value, keys: &mut BTreeSet<String>, values: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            values.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
            let all = object.get("enum").and_then(Value::as_array).into_iter().flatten();
            values.extend(all.filter_map(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| named_by_schema(value, keys, values));
        }
        Value::Array(list) => list.iter().for_each(|value| named_by_schema(value, keys, values)),
        _ => {}
    }
}

fn remove_used(report: &Value, keys: &mut BTreeSet<String>, values: &mut BTreeSet<String>) {
    match report {
        Value::Object(object) => {
            for (key, value) in object {
                keys.remove(key);
                remove_used(value, keys, values);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| remove_used(value, keys, values)),
        Value::String(text) => {
            values.remove(text);
        }
        _ => {}
    }
}

type Change = fn(&mut Value);

/// Proves that the other tests can fail.
#[test]
fn incompatible_change_of_report_is_found() {
    let folder = stored().remove(0);
    let schema = stored_schema(&folder);
    let good = stored_reports(&folder).remove(0);
    assert_eq!(misfits(&schema, std::slice::from_ref(&good)), [""; 0]);
    assert!(reader::read(&good).is_ok());
    let changes: [(&str, Change); 4] = [
        ("renamed", |it| it["result"] = it["outcome"].take()),
        ("other type", |it| it["victims"][0]["pid"] = "103".into()),
        ("no list", |it| it["victims"] = Value::Null),
        ("new variant", |it| it["outcome"] = "spared".into()),
    ];
    for (change, apply) in changes {
        let mut report = good.clone();
        apply(&mut report);
        assert!(reader::read(&report).is_err(), "{change}: the reader takes it");
        assert_eq!(misfits(&schema, &[report]).len(), 1, "{change}: the schema takes it");
    }
    let mut more = good;
    more["a_later_key"] = 1.into();
    assert!(reader::read(&more).is_ok() && misfits(&schema, &[more]).is_empty());
}
