//! `list`, `show` and `export`, run as commands.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

mod history_of;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use oomwhy::testing::{Limits, Moment, Store, short_id};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Runs a command with this history, which must exit with this code. Returns stdout and stderr.
#[track_caller]
fn run(directory: &TempDir, line: &str, code: i32) -> (String, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_oomwhy"));
    command.args(line.split_whitespace()).env("OOMWHY_DIR", directory.path()).env("TZ", "UTC");
    let assert = command.assert().code(code);
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn history() -> TempDir {
    let directory = tempdir().unwrap();
    history_of::today(directory.path());
    directory
}

/// The victims in a list, in its order.
fn victims(out: &str) -> Vec<&str> {
    out.lines().skip(1).map(|line| line.split_whitespace().nth(3).unwrap()).collect()
}

#[test]
fn list_has_titles_and_the_newest_report_last() {
    let history = history();
    let (out, err) = run(&history, "list", 0);
    let titles = "TIME ID VICTIM PID LIMIT-OWNER CONTAINER USAGE/MAX CAUSE";
    assert_eq!(
        out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
        titles
    );
    let last = out.lines().last().unwrap();
    assert!(last.contains(" kxqz") && last.contains(" java     4242 /kubepods/pod7"), "{last}");
    assert!(last.contains("512 MiB/512 MiB"), "{last}");
    assert_eq!((out.lines().count(), err.as_str()), (14, ""));
}

#[test]
fn list_with_a_filter_shows_only_matches() {
    let history = history();
    for (flags, count) in [
        ("", 13),
        ("java", 12),
        ("postgres 4242", 1),
        ("--comm postgres", 1),
        ("/kubepods", 12),
        ("--cgroup **/postgresql.service", 1),
        ("-p 4250", 13),
        ("-S -150min", 4),
        ("-U -150min", 9),
        ("-n 3", 3),
        ("-1", 1),
        ("kxqz", 1),
    ] {
        let (out, _) = run(&history, &format!("list {flags}"), 0);
        assert_eq!(victims(&out).len(), count, "{flags}\n{out}");
    }
    let (newest, _) = run(&history, "list -r -n 2", 0);
    let (oldest_first, _) = run(&history, "list -n 2", 0);
    let lines = |out: &str| out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let mut reversed = lines(&newest);
    reversed.reverse();
    assert_eq!(lines(&oldest_first), reversed);
    assert_eq!(run(&history, "list --no-legend", 0).0.lines().count(), 13);
}

#[test]
fn no_match_exits_with_1_and_a_message() {
    let history = history();
    for line in ["list nobody", "export nobody", "show nobody", "list -S now -p 1"] {
        let (out, err) = run(&history, line, 1);
        assert_eq!(out, "", "{line}");
        let words = format!("oomwhy: no report in {} matches\n", history.path().display());
        assert_eq!(err, words, "{line}");
    }
    assert_eq!(run(&history, "list -q nobody", 1), (String::new(), String::new()));
    let (_, err) = run(&history, "list --dir /nonexistent/oomwhy", 1);
    assert!(
        err.contains("no history in /nonexistent/oomwhy\nhint: `oomwhy watch --store`"),
        "{err}"
    );
}

#[test]
fn show_of_a_too_short_id_names_the_minimum() {
    let history = history();
    let (_, err) = run(&history, "show kx", 1);
    assert!(err.contains("hint: the beginning of an ID has at least 4 letters: kx"), "{err}");
    assert!(!run(&history, "show 7", 1).1.contains("hint"), "a pid can be short");
}

#[test]
fn directory_without_a_history_is_not_searched() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("passwd"), "").unwrap();
    let (_, err) = run(&directory, "list", 1);
    assert!(err.starts_with("oomwhy: no history in ") && err.contains("\nhint: "), "{err}");
}

#[test]
fn wrong_usage_exits_with_2_and_an_example() {
    let history = history();
    for (line, words) in [
        ("list -S tuesday", "2 hours ago"),
        ("list --cgroup [", "--cgroup: "),
        ("list /[", "/[: "),
        ("list -n 0", "'0'"),
        ("list -1 -n 3", "cannot be used with"),
        ("list -o text", "'text'"),
        ("watch --max-use 3GiB", "--store"),
        ("watch --store --max-use 3", "512MiB"),
        ("watch --store --max-use 100KiB", "1MiB or more"),
        ("watch --store --max-age 3", "90d"),
        ("watch --keep-free 10%", "--store"),
        ("watch --store --keep-free 0", "more than 0"),
        ("watch --store --keep-free 100%", "1% to 99%"),
    ] {
        let (out, err) = run(&history, line, 2);
        assert!(out.is_empty() && err.contains(words), "{line}: {err}");
    }
}

#[test]
fn json_output_has_reports_as_stored() {
    let history = history();
    let (lines, _) = run(&history, "list -o jsonl", 0);
    let reports: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(reports.len(), 13);
    assert_eq!(reports[12]["victims"][0]["comm"], "java");
    let (array, _) = run(&history, "export -o json", 0);
    assert_eq!(serde_json::from_str::<Value>(&array).unwrap(), Value::from(reports));
    assert_eq!(run(&history, "export", 0).0, lines);

    let file = history.path().join("out");
    let (out, _) = run(&history, &format!("export kxqz --output-file {}", file.display()), 0);
    assert_eq!(out, "");
    assert_eq!(fs::read_to_string(file).unwrap(), lines.lines().last().unwrap().to_owned() + "\n");
}

#[test]
fn history_is_not_overwritten_by_output() {
    let history = history();
    let file = segment(history.path());
    let before = fs::read(&file).unwrap();
    for command in ["export", "explain kxqz", "flame kxqz", "explain /proc/version"] {
        let line = format!("{command} --output-file {}", file.display());
        let (out, err) = run(&history, &line, 2);
        assert!(out.is_empty() && err.contains("is a file of the history"), "{line}: {err}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn show_accepts_any_id_of_a_report() {
    let history = history();
    let (latest, _) = run(&history, "show", 0);
    assert!(latest.contains("killed java[4242]"), "{latest}");
    let (json, _) = run(&history, "show -o json", 0);
    let id = serde_json::from_str::<Value>(&json).unwrap()["id"].as_str().unwrap().to_owned();
    for name in ["kxqz", &id, &id["boot-".len()..]] {
        assert_eq!(run(&history, &format!("show {name}"), 0).0, latest, "{name}");
    }
    // Only one report has this name.
    assert!(run(&history, "show postgres", 0).0.contains("killed postgres[4242]"));
}

#[test]
fn show_of_an_ambiguous_name_lists_the_matches() {
    let history = history();
    for (word, count) in [("java", 12), ("boot", 13), ("4242", 13)] {
        let (out, err) = run(&history, &format!("show {word}"), 1);
        assert_eq!(out, "");
        let first = format!("oomwhy: {count} reports match {word}:");
        assert_eq!(err.lines().next().unwrap(), first);
        assert_eq!(err.lines().count(), 13, "{err}");
        assert_eq!(err.lines().last().unwrap(), "hint: name one of them by its ID");
        assert!(err.contains("\n  kxqz") && err.contains("older ones"), "{err}");
    }
}

#[test]
fn group_of_regular_kills_has_an_interval() {
    let history = history();
    let (out, _) = run(&history, "list --group", 0);
    assert!(out.contains("12 times in 11 h, every 60 min"), "{out}");
    assert!(out.contains("once"), "{out}");
    assert_eq!(victims(&out), ["postgres", "java"]);
    assert_eq!(victims(&run(&history, "list --group -r", 0).0), ["java", "postgres"]);
    let (lines, _) = run(&history, "list --group -o jsonl", 0);
    let java: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&java["count"], &java["every_s"]), (&Value::from(12), &Value::from(3600)));
}

#[test]
fn unreadable_lines_are_counted_once_and_others_listed() {
    let history = history();
    let file = segment(history.path());
    let mut content = fs::read(&file).unwrap();
    content.splice(0..0, *b"rubbish\n{\"type\":\"oom\",\"schema\":9}\n");
    fs::write(&file, content).unwrap();
    let (out, err) = run(&history, "list", 0);
    assert_eq!(victims(&out).len(), 13);
    assert_eq!(err, "oomwhy: skipped 1 damaged line, 1 record of a newer oomwhy\n");
    assert_eq!(run(&history, "list -q", 0).1, "");
}

/// A history with two reports, and a loss between them whose record was lost itself.
fn history_with_a_hole() -> TempDir {
    let directory = tempdir().unwrap();
    let now = Moment::now();
    let mut store = Store::open(directory.path(), Limits::default(), "", now).unwrap();
    let report = |id: &str| {
        format!(
            r#"{{"type":"oom","schema":1,"id":"{id}","outcome":"killed","victims":[],"source":{{"tier":"fentry"}}}}"#
        )
    };
    let loss = r#"{"type":"loss","schema":1,"id":"boot-0000000000000002-loss.1f","revision":1,"stage":"ring","count":3,"first":"2026-01-01T00:00:00Z","last":"2026-01-01T00:00:00Z"}"#;
    store.append(report("boot-0000000000000001-7").as_bytes(), now).unwrap();
    store.append(loss.as_bytes(), now).unwrap();
    store.skip(2);
    store.append(report("boot-0000000000000005-7").as_bytes(), now).unwrap();
    store.append(loss.replace("0002", "0006").as_bytes(), now).unwrap();
    directory
}

#[test]
fn missing_records_are_reported_on_stderr() {
    let history = history_with_a_hole();
    let words = "oomwhy: 2 records are missing (seq 3 to 4): not stored, removed or damaged\n";
    for line in ["list", "list -o jsonl", "export", "list java -o jsonl"] {
        let code = i32::from(line.contains("java"));
        let (_, err) = run(&history, line, code);
        assert!(err.starts_with(words), "{line}: {err}");
    }
    for line in ["show", "show boot-0000000000000001-7", "explain boot-0000000000000001-7"] {
        assert_eq!(run(&history, line, 0).1, words, "{line}");
    }
    assert_eq!(run(&history, "list -q", 0).1, "");
}

#[test]
fn loss_is_shown_by_its_id_and_is_not_the_newest_report() {
    let history = history_with_a_hole();
    let (json, _) = run(&history, "show -o json", 0);
    let newest: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(newest["id"], "boot-0000000000000005-7");
    assert_eq!(newest["seq"], 5);
    for id in ["boot-0000000000000006", &short_id("boot-0000000000000006-loss.1f")] {
        let (text, _) = run(&history, &format!("show {id}"), 0);
        assert!(text.contains("loss: 3 kernel-side records"), "{text}");
    }
    let (list, _) = run(&history, "list", 0);
    let ids: Vec<_> =
        list.lines().skip(1).map(|it| it.split_whitespace().nth(2).unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 8), "{list}");
}

/// Root may read everything, so the test checks nothing as root.
#[test]
fn unreadable_history_exits_with_77() {
    let history = history();
    fs::set_permissions(history.path(), Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(history.path()).is_err() {
        let (_, err) = run(&history, "list", 77);
        assert!(err.contains("Permission denied") && err.contains("run as root"), "{err}");
    }
    fs::set_permissions(history.path(), Permissions::from_mode(0o700)).unwrap();
}

/// Root may read everything, so the test checks nothing as root.
#[test]
fn history_of_unreadable_files_exits_with_77() {
    let history = history();
    let file = segment(history.path());
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_err() {
        for command in ["list", "show", "export", "show kxqz"] {
            let (_, err) = run(&history, command, 77);
            assert!(
                err.contains("no permission to read 1 file") && err.contains("hint: "),
                "{err}"
            );
        }
    }
}

fn segment(path: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "jsonl")).unwrap()
}
