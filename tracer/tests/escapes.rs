//! Escape sequences in each string of a report, a recording, a name of a file: no command prints
//! one, on stdout or on stderr.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

#[expect(unreachable_pub, reason = "it is the interface of a crate for the fuzz targets")]
#[path = "../../fuzz/src/terminal.rs"]
mod terminal;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use oomwhy::testing::{Limits, Moment, Store};
use serde_json::{Value, json};
use tempfile::tempdir;

use terminal::unsafe_character;

/// An operating system command, a CSI as two characters and as one (C1), DEL, text that reorders,
/// and a line that would look like one of oomwhy.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2066}\r\nhint: forged";

/// Runs a command and checks all that it prints.
#[track_caller]
fn check(arguments: &[&str]) -> String {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_oomwhy"))
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    for text in [&out, &err] {
        assert_eq!(unsafe_character(text), None, "{arguments:?}\n{text:?}");
        assert!(!text.contains("\nhint: forged"), "{arguments:?}\n{text}");
    }
    out + &err
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire/7.3").join(name)
}

/// A report with all that can have a name.
fn reports() -> Vec<Value> {
    let names = ["grown.jsonl", "global.jsonl", "trigger_is_not_victim.jsonl"];
    let text = names.map(|name| fs::read_to_string(fixture(name)).unwrap()).concat();
    let mut reports: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for report in &mut reports {
        for key in ["oom_memcg", "trigger"] {
            if report[key].is_object() {
                name_container(&mut report[key]);
            }
        }
        report["victims"].as_array_mut().unwrap().iter_mut().for_each(name_container);
    }
    reports.push(json!({
        "type": "gap", "schema": 1, "time": "2026-11-23T09:21:07Z", "expected": 2, "seen": 1,
        "since": "2026-11-23T09:21:07Z", "cgroup": { "path": "/a" },
    }));
    reports.push(json!({
        "type": "loss", "schema": 1, "first": "2026-11-23T09:21:07Z",
        "last": "2026-11-23T09:21:07Z", "count": 1, "stage": "probe", "name": "out_of_memory",
    }));
    reports
}

fn name_container(of: &mut Value) {
    of["container"] = json!({
        "runtime": "docker", "id": "ab12", "name": "n", "image": "i", "pod": "p",
        "namespace": "ns", "pod_uid": "u", "qos": "burstable",
    });
    of["unit"] = json!("u.service");
    of["user"] = json!("app");
    of["exe"] = json!("/bin/app");
    of["cmdline"] = json!(["/bin/app", "-x"]);
}

/// The reports, each with one string changed. Of the items of a list, one is changed.
fn mutations() -> Vec<Value> {
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for report in reports() {
        let mut places = Vec::new();
        strings(&report, "", "", &mut places);
        for (pointer, pattern) in places {
            if known.insert(format!("{}{pattern}", report["type"])) {
                let mut changed = report.clone();
                let text = changed.pointer_mut(&pointer).unwrap();
                *text = json!(format!("{}{HOSTILE}", text.as_str().unwrap()));
                if pointer != "/id" {
                    changed["id"] = json!(format!("boot-{:016x}-7", all.len()));
                }
                all.push(changed);
            }
        }
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// The places of all strings, and the same without the numbers of the items.
fn strings(value: &Value, pointer: &str, pattern: &str, into: &mut Vec<(String, String)>) {
    match value {
        Value::String(_) => into.push((pointer.to_owned(), pattern.to_owned())),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            strings(item, &format!("{pointer}/{index}"), pattern, into);
        }),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| {
            strings(field, &format!("{pointer}/{key}"), &format!("{pattern}/{key}"), into);
        }),
        _ => {}
    }
}

fn store(directory: &Path, reports: &[Value]) {
    let now = Moment::now();
    let mut store = Store::open(directory, Limits::default(), "", now).unwrap();
    for report in reports {
        store.append(format!("{report}\n").as_bytes(), now).unwrap();
    }
}

#[test]
fn no_string_of_a_report_acts_on_a_terminal() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("reports.jsonl");
    let file = file.to_str().unwrap();
    let mutations = mutations();
    let lines: Vec<String> = mutations.iter().map(|report| format!("{report}\n")).collect();
    fs::write(file, lines.concat()).unwrap();
    for form in [["--color", "always"], ["-o", "html"]] {
        assert!(check(&[&["explain", file][..], &form].concat()).contains("owned"));
    }
    for (index, report) in mutations.iter().enumerate() {
        let history = folder.path().join(index.to_string());
        store(&history, std::slice::from_ref(report));
        let history = history.to_str().unwrap();
        assert!(!check(&["show", "--dir", history, "-v", "--color", "always"]).is_empty());
        if report["growth"].is_object() {
            fs::write(file, format!("{report}\n")).unwrap();
            check(&["flame", file, "-o", "folded"]);
            check(&["flame", file]);
        }
    }
}

#[test]
fn no_stored_report_acts_on_a_terminal() {
    let history = tempdir().unwrap();
    let directory = history.path().to_str().unwrap();
    store(history.path(), &mutations());
    let listed = check(&["list", "--dir", directory, "--color", "always"]);
    assert!(listed.contains("owned"), "{listed}");
    check(&["list", "--dir", directory, "--group"]);
    // Several reports match: they are named on stderr.
    let several = check(&["show", "--dir", directory, "7"]);
    assert!(!several.is_empty());
}

/// Changes each string of the frames that are JSON, and the names in the records.
fn recordings() -> Vec<Vec<u8>> {
    let recording = fs::read(fixture("grown.rec")).unwrap();
    let start = recording.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (first_line, mut rest) = recording.split_at(start);
    let mut frames = Vec::new();
    while let [kind, a, b, c, d, behind @ ..] = rest {
        let (body, next) = behind.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*kind, body.to_vec()));
        rest = next;
    }
    let assembled = |frames: &[(u8, Vec<u8>)]| {
        let mut all = first_line.to_vec();
        for (kind, body) in frames {
            all.push(*kind);
            all.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
            all.extend(body);
        }
        all
    };
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for (index, (_, body)) in frames.iter().enumerate() {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { continue };
        let mut places = Vec::new();
        strings(&value, "", "", &mut places);
        for (pointer, pattern) in places {
            if known.insert(pattern) {
                let mut changed = value.clone();
                let text = changed.pointer_mut(&pointer).unwrap();
                *text = json!(format!("{}{HOSTILE}", text.as_str().unwrap()));
                let mut frames = frames.clone();
                frames[index].1 = changed.to_string().into_bytes();
                all.push(assembled(&frames));
            }
        }
    }
    assert!(all.len() > 8, "{}", all.len());
    // Names of processes and of cgroups, of the same length.
    for (name, hostile) in [("hog", "\u{1b}]0"), ("oomwhy", "\u{9b}2J\u{7}\u{1b}")] {
        let (name, hostile) = (name.as_bytes(), hostile.as_bytes());
        let mut changed = recording.clone();
        let starts: Vec<usize> =
            (0..changed.len()).filter(|start| changed[*start..].starts_with(name)).collect();
        for start in starts.iter().filter(|start| **start > first_line.len()) {
            changed[*start..*start + hostile.len()].copy_from_slice(hostile);
        }
        all.push(changed);
    }
    all
}

#[test]
fn no_string_of_a_recording_acts_on_a_terminal() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("kills.rec");
    for recording in recordings() {
        fs::write(&file, recording).unwrap();
        let shown = check(&["replay", file.to_str().unwrap(), "-v", "--color", "always"]);
        assert!(!shown.is_empty());
    }
}

#[test]
fn no_message_acts_on_a_terminal() {
    let folder = tempdir().unwrap();
    let hostile = folder.path().join(HOSTILE.replace('/', "_"));
    let name = hostile.to_str().unwrap();
    let absent = format!("{name}-absent");
    let unknown = json!({ "type": HOSTILE, "schema": 1, "id": HOSTILE }).to_string();
    fs::write(&hostile, &unknown).unwrap();
    let other = format!("{name}-directory");
    fs::create_dir(&other).unwrap();
    for arguments in [
        &["explain", name][..],
        &["explain", &absent],
        &["explain", &other],
        &["flame", name],
        &["replay", name],
        &["replay", &absent],
        // JSON in a pipe is as it was.
        &["symbolize", "--output-file", "/dev/null", name],
        &["symbolize", "--output-file", "/dev/null", "--elf", name, name],
        &["symbolize", "--output-file", "/dev/null", "--debug-dir", name, name],
        &["list", "--dir", name],
        &["list", "--dir", &absent],
        &["list", "--dir", &other],
        &["list", HOSTILE],
        &["list", "--since", HOSTILE],
        &["show", "--dir", &other, HOSTILE],
        &["export", "--cgroup", HOSTILE],
        &["replay", "--cgroup", "[\u{1b}]0;x\u{7}", name],
        &["replay", "--redact", "(\u{1b}]0;x\u{7}", name],
        &["replay", "--output-file", &other, name],
        &["replay", "--output-file", name, name],
        &["--btf", name],
        &["unpin", name],
        &["unpin", &absent],
        &[HOSTILE],
        &["--", HOSTILE],
        &[&format!("--{HOSTILE}")],
        &["explain", "--color", HOSTILE],
    ] {
        check(arguments);
    }
    // A report that is not readable, stored in the history.
    let history = tempdir().unwrap();
    store(history.path(), &[json!({ "type": "oom", "schema": 1, "outcome": HOSTILE, "id": "a" })]);
    let directory = history.path().to_str().unwrap();
    check(&["list", "--dir", directory]);
    let refused = check(&["show", "--dir", directory]);
    assert!(refused.contains("owned"), "{refused}");
}
