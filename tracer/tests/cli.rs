//! The binary as users see it: its output on both streams, and its exit codes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

mod recorded;

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, pipe},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

const BINARY: &str = env!("CARGO_BIN_EXE_oomwhy");

/// Runs oomwhy, which must exit with this code. Returns stdout and stderr.
#[track_caller]
fn run(arguments: &[&str], code: i32) -> (String, String) {
    let mut command = assert_cmd::Command::new(BINARY);
    let assert = command.args(arguments).assert().code(code);
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{arguments:?}: {err}");
    (out, err)
}

#[test]
fn pin_directory_outside_bpffs_is_refused() {
    let folder = tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    check_refusal(&["--pin", dir], 2, "is not on a BPF file system");
    check_refusal(&["unpin", dir], 2, "is not on a BPF file system");
    check_refusal(&["--pin", dir, "-o", "events"], 2, "-o events prints none");
    let (_, err) = run(&["--pin", dir], 2);
    assert!(err.contains("hint: `mount -t bpf bpf /sys/fs/bpf`"), "{err}");
}

/// Checks a refusal: the exit code, an empty stdout, and these words in the first line on stderr.
#[track_caller]
fn check_refusal(arguments: &[&str], code: i32, words: &str) {
    let (out, err) = run(arguments, code);
    assert_eq!(out, "", "{arguments:?}");
    let first = err.lines().next().unwrap();
    assert!(first.contains(words), "{arguments:?}: {err}");
    // Usage errors are clap's. Ours are one line, and a hint where there is one.
    let is_hint = |line: &str| line.starts_with("hint: ");
    let ours = code == 2 || (first.starts_with("oomwhy: ") && err.lines().skip(1).all(is_hint));
    assert!(ours, "{arguments:?}: {err}");
}

/// Like `oomwhy ... | true`: oomwhy exits with 0 and prints nothing on stderr.
#[track_caller]
fn check_closed_pipe(arguments: &[&str]) {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let command =
        Command::new(BINARY).args(arguments).stdout(writer).stderr(Stdio::piped()).output();
    let output = command.unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
}

/// A directory with recordings of two kills, one complete and one cut off in the second kill, and
/// another file.
fn recordings() -> TempDir {
    let directory = tempdir().unwrap();
    let whole = directory.path().join("whole.rec");
    let lengths = recorded::two_kills(&whole);
    let bytes = fs::read(&whole).unwrap();
    // In the middle of the last record, the end of the second kill.
    let cut = bytes.get(..lengths - 10).unwrap();
    fs::write(directory.path().join("cut.rec"), cut).unwrap();
    fs::write(directory.path().join("foreign"), "kernel: Out of memory\n").unwrap();
    directory
}

fn name(directory: &TempDir, file: &str) -> String {
    directory.path().join(file).to_str().unwrap().to_owned()
}

fn reports(out: &str) -> Vec<Value> {
    let lines = out.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn version_and_help_are_printed_on_stdout() {
    let (out, err) = run(&["--version"], 0);
    assert_eq!(out, concat!("oomwhy ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(err, "");
    for flag in ["-h", "--help"] {
        let (out, err) = run(&[flag], 0);
        assert!(out.contains("Examples:\n  oomwhy "), "{out}");
        assert_eq!(err, "");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for (arguments, words) in [
        (["--frobnicate"].as_slice(), "'--frobnicate'"),
        (&["-o", "xml"], "'xml'"),
        (&["--cgroup", "["], "--cgroup: "),
        (&["replay", "x.rec", "--cgroup", "["], "--cgroup: "),
        (&["--ring-size", "3"], "power of two from 128KiB"),
        (&["--count", "0"], "'0'"),
        (&["--comm"], "'--comm <NAME>'"),
        (&["replay"], "required arguments"),
        (&["-o", "json", "replay", "x.rec"], "replay"),
    ] {
        check_refusal(arguments, 2, words);
    }
}

#[test]
fn failure_is_one_line_and_exits_with_1() {
    let directory = recordings();
    let (foreign, whole) = (name(&directory, "foreign"), name(&directory, "whole.rec"));
    let nowhere = name(&directory, "no/x");
    let foreign_words = format!("{foreign}: not an oomwhy recording");
    let missing_words = format!("cannot read the recording {nowhere}: No such file");
    let output_words = format!("cannot write {nowhere}: No such file");
    let to_nowhere = ["replay", &whole, "--output-file", &nowhere];
    check_refusal(&["replay", &foreign], 1, &foreign_words);
    check_refusal(&["replay", &nowhere], 1, &missing_words);
    check_refusal(&to_nowhere, 1, &output_words);
    check_refusal(&["--output-file", &nowhere], 1, &output_words);
}

#[test]
fn missing_btf_exits_with_69() {
    let directory = recordings();
    let nowhere = name(&directory, "no/btf");
    let (out, err) = run(&["--btf", &nowhere], 69);
    assert_eq!(out, "");
    assert!(err.starts_with("oomwhy: ") && err.contains(&nowhere), "{err}");
    assert!(err.contains("hint: ") || err.contains("--btf"), "{err}");
    let (out, err) = run(&["reduced-btf", &nowhere], 69);
    assert_eq!(out, "");
    assert!(err.contains(&nowhere), "{err}");
}

#[test]
fn reduced_btf_of_fixture_equals_fixture() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/btf/6.12.btf");
    let command = Command::new(BINARY).args(["reduced-btf", fixture]).output().unwrap();
    assert!(command.status.success() && command.stdout == fs::read(fixture).unwrap());
    let directory = recordings();
    let (out, err) = run(&["reduced-btf", &name(&directory, "foreign")], 1);
    assert_eq!(out, "");
    assert!(err.contains("this is not BTF"), "{err}");
}

#[test]
fn recording_is_replayed_to_stdout_or_file() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let (out, err) = run(&["replay", &whole, "-o", "json"], 0);
    assert_eq!(err, "");
    let [first, second] = reports(&out).try_into().unwrap();
    for (report, pid) in [(&first, 100), (&second, 200)] {
        assert_eq!(report["outcome"], "killed");
        assert_eq!(report["victims"][0]["pid"], pid);
    }
    let file = name(&directory, "out.json");
    let (nothing, _) = run(&["replay", &whole, "-o", "json", "--output-file", &file], 0);
    assert_eq!((nothing.as_str(), fs::read_to_string(&file).unwrap()), ("", out));
    let (text, _) = run(&["replay", &whole, "--count", "1"], 0);
    assert!(text.contains("java") && !text.contains('\u{1b}'), "{text}");
    let (events, _) = run(&["replay", &whole, "-o", "events"], 0);
    assert_eq!(reports(&events).len(), 6);
    let (none, _) = run(&["replay", &whole, "-o", "json", "--comm", "nobody"], 0);
    assert_eq!(none, "");
}

#[test]
fn truncated_recording_gives_complete_records_then_error() {
    let directory = recordings();
    let cut = name(&directory, "cut.rec");
    let (out, err) = run(&["replay", &cut, "-o", "json"], 1);
    let outcomes = reports(&out);
    let victims: Vec<&Value> = outcomes.iter().map(|it| &it["victims"][0]["pid"]).collect();
    assert_eq!(victims, [100, 200]);
    assert_eq!(outcomes[1]["source"]["missing"][0]["field"], "outcome");
    let expected = format!("oomwhy: {cut}: damaged after 5 complete frames: cut off in a frame");
    assert!(err.starts_with(&expected) && err.lines().count() == 2, "{err}");
    assert!(err.contains("\nhint: "), "{err}");
}

#[test]
fn unusable_input_is_named_with_a_hint() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let nowhere = name(&directory, "nowhere");
    let folder = directory.path().to_str().unwrap();
    let to_nowhere = name(&directory, "no/x.rec");
    for (arguments, code, words) in [
        (["replay", &nowhere].as_slice(), 1, "cannot read the recording "),
        (&["replay", folder], 1, "Is a directory"),
        (&["explain", &to_nowhere], 1, "cannot read "),
        (&["explain", folder], 1, "cannot read "),
        (&["flame", &whole], 1, "is not a report of oomwhy"),
        (&["flame", folder], 1, "cannot read "),
        (&["symbolize", &nowhere], 1, "cannot read "),
        (&["symbolize", &whole], 1, "cannot read a report in "),
        (&["symbolize", "--elf", &nowhere], 1, "No such file"),
        (&["symbolize", "--elf", folder], 1, "Is a directory"),
        (&["symbolize", "--elf", &whole], 1, "cannot read a build id"),
        (&["symbolize", "--debug-dir", &nowhere], 1, "cannot read the debug directory "),
        (&["list", "--dir", &whole], 1, "Not a directory"),
        (&["man", "--dir", &whole], 1, "Not a directory"),
        (&["replay", &whole, "--cgroup", "["], 2, "--cgroup: "),
        (&["list", "--cgroup", "["], 2, "--cgroup: "),
        (&["list", "a["], 2, "a[: "),
        (&["risk", "--cgroup", "["], 2, "--cgroup: "),
        (&["replay", &whole, "--redact", "("], 2, "--redact: "),
        (&["unpin", folder], 2, "unpin: "),
        (&["unpin", &nowhere], 1, "unpin: "),
    ] {
        check_refusal(arguments, code, words);
        let (_, err) = run(arguments, code);
        assert!(err.contains("\nhint: ") && !err.contains("--pin /"), "{arguments:?}: {err}");
    }
    let (_, err) = run(&["--cgroup", "["], 2);
    assert!(err.contains("'['") && !err.contains("'/['"), "{err}");
    // A kernel log is of no use to it.
    let (_, err) = run(&["flame", &whole], 1);
    assert!(!err.contains("kernel log"), "{err}");
    run(&["help", "--help"], 0);
}

/// Root may read everything, so the test checks nothing as root.
#[test]
fn check_of_unreadable_btf_asks_for_a_permission() {
    let directory = recordings();
    let btf = name(&directory, "foreign");
    fs::set_permissions(&btf, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&btf).is_err() {
        let (out, _) = run(&["check", "--btf", &btf, "-o", "json"], 77);
        let check: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(check["refused"]["lacks"], "permission");
        assert!(check["refused"]["fix"].as_str().unwrap().contains("readable file"), "{out}");
    }
}

#[test]
fn damaged_record_is_named_at_the_end() {
    let directory = recordings();
    let file = name(&directory, "whole.rec");
    let mut bytes = fs::read(&file).unwrap();
    // A record that has no complete header.
    bytes.splice(bytes.len() - 10.., [1, 4, 0, 0, 0, 9, 9, 9, 9]);
    fs::write(&file, bytes).unwrap();
    let (out, err) = run(&["replay", &file, "-o", "json"], 1);
    assert_eq!(reports(&out).len(), 2);
    assert!(err.starts_with(&format!("oomwhy: {file}: 1 record cannot be decoded")), "{err}");
}

#[test]
fn damaged_frame_loses_only_itself() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let mut bytes = fs::read(&whole).unwrap();
    let end = bytes.len();
    // The kind of the last frame, `"end"`, and its length are before its 5 bytes.
    let last = end - 10;
    let fact = bytes.get(last..).unwrap().to_vec();
    let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let length = bytes.get(first_line + 1..first_line + 5).unwrap().try_into().unwrap();
    let host_end = first_line + 5 + u32::from_le_bytes(length) as usize;
    let mut damaged = fact;
    damaged.splice(6..7, [b'E']);
    bytes.splice(host_end..host_end, damaged);
    let file = name(&directory, "flipped.rec");
    fs::write(&file, bytes).unwrap();
    let (out, err) = run(&["replay", &file, "-o", "json"], 1);
    assert_eq!(out, run(&["replay", &whole, "-o", "json"], 0).0);
    let expected = format!("oomwhy: {file}: skipped 1 damaged frame, number 2: a fact cannot");
    assert!(err.starts_with(&expected) && err.contains("\nhint: "), "{err}");
}

#[test]
fn recording_is_not_overwritten_by_output() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let link = name(&directory, "link.rec");
    std::os::unix::fs::symlink(&whole, &link).unwrap();
    let before = fs::read(&whole).unwrap();
    for output in [&whole, &link] {
        let words = format!("--output-file: {output} is the recording itself");
        check_refusal(&["replay", &whole, "--output-file", output], 2, &words);
        check_refusal(&["--record", &whole, "--output-file", output], 2, &words);
    }
    let fresh = name(&directory, "fresh");
    let words = "is the recording itself";
    check_refusal(&["--record", &fresh, "--output-file", &fresh], 2, words);
    assert_eq!(fs::read(&whole).unwrap(), before);
    run(&["replay", &whole, "--output-file", "/dev/null"], 0);
}

/// Every command that reads files refuses to write over them.
#[test]
fn input_is_not_overwritten_by_output() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let (report, link) = (name(&directory, "report.json"), name(&directory, "link.json"));
    run(&["replay", &whole, "-o", "json", "--output-file", &report], 0);
    fs::hard_link(&report, &link).unwrap();
    let before = fs::read(&report).unwrap();
    let words = "is a file that this command reads";
    for output in [&report, &link] {
        for arguments in [
            ["explain", &report, "-o", "html"].as_slice(),
            &["explain", &report],
            &["explain", &report, "-o", "json"],
            &["flame", &report],
            &["symbolize", &report],
            &["symbolize", &whole, "--elf", &report],
            &["--btf", &report],
        ] {
            let arguments = [arguments, &["--output-file", output]].concat();
            check_refusal(&arguments, 2, words);
        }
    }
    let stdin = fs::File::open(&report).unwrap();
    let mut command = Command::new(BINARY);
    let output = command.args(["explain", "-", "--output-file", &link]).stdin(stdin).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    assert_eq!(fs::read(&report).unwrap(), before);
    run(&["explain", &report, "--output-file", "/dev/null"], 0);
}

#[test]
fn failed_write_names_its_destination() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let report = name(&directory, "report.json");
    run(&["replay", &whole, "-o", "json", "--output-file", &report], 0);
    for arguments in [
        ["schema"].as_slice(),
        &["man"],
        &["completions", "bash"],
        &["check"],
        &["check", "-o", "json"],
        &["replay", &whole],
        &["replay", &whole, "-o", "json"],
        &["replay", &whole, "-o", "events"],
        &["explain", &report],
        &["symbolize", &report],
    ] {
        let full = fs::File::create("/dev/full").unwrap();
        let output = Command::new(BINARY).args(arguments).stdout(full).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let expected = "oomwhy: cannot write stdout: No space left on device (os error 28)\n";
        assert_eq!((err.as_str(), output.status.code()), (expected, Some(1)), "{arguments:?}");
    }
    let to_full = ["replay", &whole, "--output-file", "/dev/full"];
    check_refusal(&to_full, 1, "cannot write /dev/full: No space left");
}

#[test]
fn unseen_kills_are_reported_once_as_gap() {
    let directory = tempdir().unwrap();
    let file = name(&directory, "gap.rec");
    recorded::two_kills_of_four(file.as_ref());
    let (out, err) = run(&["replay", &file, "-o", "json"], 0);
    assert_eq!(err, "");
    let records = reports(&out);
    let types: Vec<&Value> = records.iter().map(|record| &record["type"]).collect();
    assert_eq!(types, ["oom", "loss", "oom", "gap"]);
    let expected = serde_json::json!({
        "type": "gap", "schema": 1, "id": "boot-000000012a05f200-gap", "revision": 1,
        "host": "example", "boot_id": "boot",
        "expected": 4, "seen": 2, "drops": 6,
        "since": "2026-01-01T00:00:00Z", "time": "2026-01-01T00:00:05Z",
    });
    assert_eq!(records[3], expected);
    let (text, _) = run(&["replay", &file], 0);
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    assert!(text.contains("gap: the kernel counted 4 OOM kills since"), "{text}");
    assert!(text.contains("2 of them were seen; 6 records were lost"), "{text}");
    // A filter does not apply to the gap.
    let (out, _) = run(&["replay", &file, "-o", "json", "--comm", "nobody"], 0);
    let types: Vec<Value> = reports(&out).iter().map(|record| record["type"].clone()).collect();
    assert_eq!(types, ["loss", "gap"]);
}

#[test]
fn every_key_of_schema_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/record.md");
    let page = fs::read_to_string(page).unwrap();
    // Every other piece is between backticks.
    let code = page.split('`').skip(1).step_by(2);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: HashSet<&str> =
        code.flat_map(|code| code.split(move |c: char| !is_word(c))).collect();
    let (schema, _) = run(&["schema"], 0);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut checked = 0;
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let Some(keys) = definition["properties"].as_object() else { continue };
        for key in keys.keys() {
            let is_a_limits = key.ends_with("_no_limit") && words.contains("_no_limit");
            assert!(words.contains(key.as_str()) || is_a_limits, "{name}.{key}");
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn closed_pipe_exits_with_0() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    for arguments in [
        ["schema"].as_slice(),
        &["--help"],
        &["man"],
        &["completions", "bash"],
        &["replay", &whole],
        &["replay", &whole, "-o", "json"],
        &["replay", &whole, "-o", "events"],
    ] {
        check_closed_pipe(arguments);
    }
}

/// Runs on hosts that allow tracing, that refuse it and that do not support it.
#[test]
fn watch_prints_that_it_traces_or_why_not() {
    check_watch(Signal::INT);
    // oomwhy ignores SIGHUP if it was ignored before, as under nohup.
    if ignores_hangups() {
        eprintln!("not run: SIGHUP is ignored here");
    } else {
        check_watch(Signal::HUP);
    }
}

fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

/// Starts oomwhy and, once it traces, stops it with a signal.
#[track_caller]
fn check_watch(stop: Signal) {
    let mut child = Command::new(BINARY)
        .args(["watch", "-o", "json", "--count", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("Tracing OOM kills") {
            kill_process(Pid::from_child(&child), stop).unwrap();
        }
        messages.extend([&line, "\n"]);
    }
    let output = child.wait_with_output().unwrap();
    assert!(!messages.contains("panicked"), "{messages}");
    let expected = match output.status.code() {
        Some(0) => "Ctrl-C to stop",
        Some(77) => "oomwhy: the kernel does not permit",
        Some(69) => "oomwhy: ",
        code => panic!("{stop:?}, {code:?}: {messages}"),
    };
    assert!(messages.contains(expected), "{messages}");
    assert!(expected.starts_with("Ctrl") || output.stdout.is_empty());
    let has_hint = messages.contains("\nhint: ");
    assert!(output.status.code() != Some(77) || has_hint, "{messages}");
}

fn kmsg(name: &str) -> String {
    format!("{}/../tests/fixtures/kmsg/{name}.txt", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `explain` with this input on stdin.
fn explain(arguments: &[&str], input: &[u8], code: i32) -> (String, String) {
    let mut command = assert_cmd::Command::new(BINARY);
    let assert = command.arg("explain").args(arguments).write_stdin(input).assert().code(code);
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn kernel_log_and_reports_are_explained() {
    let log = fs::read(kmsg("7.3-memcg-v2")).unwrap();
    let (json, err) = explain(&["-", "-o", "json"], &log, 0);
    assert_eq!(err, "");
    let [report] = reports(&json).try_into().unwrap();
    assert_eq!(report["victims"][0]["pid"], 118);
    let (text, _) = explain(&["-"], &log, 0);
    assert!(text.contains("killed hog[118]") && text.contains("seen by kmsg"), "{text}");
    // One object per line or pretty-printed: the text is the same.
    let pretty = serde_json::to_string_pretty(&report).unwrap();
    for input in [json.as_str(), &pretty, &format!("\n {json}")] {
        assert_eq!(explain(&[], input.as_bytes(), 0).0, text);
    }
    let twice = log.repeat(2);
    assert_eq!(explain(&["-o", "json"], &twice, 0).0.lines().count(), 2);
    let (file, _) = run(&["explain", &kmsg("5.10-global")], 0);
    assert!(file.contains("killed hog[103]"), "{file}");
}

#[test]
fn damaged_report_is_skipped_and_counted() {
    let directory = recordings();
    let whole = name(&directory, "whole.rec");
    let (json, _) = run(&["replay", &whole, "-o", "json"], 0);
    let [first, second] = json.lines().collect::<Vec<_>>().try_into().unwrap();
    let torn = first.get(..first.len() / 2).unwrap();
    for (input, damaged) in [
        (format!("{first}\n{torn}\n{second}\nrubbish\n"), "2 damaged lines: the first is line 2"),
        (format!("{torn}\n{first}\n{second}\n"), "1 damaged line: line 1"),
        (format!("{}\n{first}\n{second}\n", &first[1..]), "1 damaged line: line 1"),
    ] {
        let (out, err) = explain(&["-o", "json"], input.as_bytes(), 0);
        assert_eq!(reports(&out).len(), 2, "{err}");
        assert_eq!(err, format!("oomwhy: stdin: skipped {damaged}\n"));
        let file = name(&directory, "damaged.json");
        fs::write(&file, &input).unwrap();
        let (out, err) = run(&["symbolize", &file], 0);
        assert_eq!((reports(&out).len(), err), (2, format!("oomwhy: {file}: skipped {damaged}\n")));
        let (_, err) = run(&["flame", &file], 1);
        assert!(err.contains(damaged) && err.contains("has no report with growth"), "{err}");
    }
}

#[test]
fn input_without_kill_exits_with_1() {
    for (input, words) in [
        (b"".as_slice(), "no OOM kill"),
        (b"[    1.0] hello\n", "no OOM kill"),
        (&vec![0; 100_000], "no OOM kill"),
        (b"\xff\xfe\x00{{{", "no OOM kill"),
        (b"{\"a\": 1}", "not a report of oomwhy"),
        (b"{", "not a report of oomwhy"),
    ] {
        let (out, err) = explain(&["-"], input, 1);
        assert_eq!(out, "");
        let (first, rest) = err.split_once('\n').unwrap();
        assert!(first.starts_with("oomwhy: stdin ") && first.contains(words), "{err}");
        assert!(rest.lines().all(|line| line.starts_with("hint: ")), "{err}");
    }
    check_refusal(&["explain", "/nowhere/x"], 1, "cannot read /nowhere/x: No such file");
    check_refusal(&["explain", "/"], 1, "cannot read /: Is a directory");
    check_refusal(&["explain", "-o", "events", &kmsg("5.10-global")], 2, "'events'");
    check_refusal(&["--attach", "kmsg", "-o", "events"], 2, "--attach kmsg");
    check_refusal(&["--attach", "nonsense"], 2, "'nonsense'");
    check_closed_pipe(&["explain", &kmsg("5.10-global")]);
}
