//! Tests the examples of `--help`: each parses, and those that need neither root nor a kernel have
//! the described effect.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

mod history_of;
mod recorded;

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use clap::{CommandFactory, Parser};
use oomwhy::testing::Cli;
use tempfile::tempdir;

/// Commands whose examples are run. The other commands trace.
const RUN: &[&str] =
    &["replay", "explain", "list", "show", "export", "schema", "man", "completions"];
const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/kmsg/6.12-memcg-v2.txt");
/// Commands for oomwhy's helper processes, and clap's own commands.
const INTERNAL: &[&str] =
    &["kernel-symbols", "open-files", "user-symbols", "reduced-btf", "self-test-victim", "help"];

/// Every command with the lines below "Examples:" in its help.
fn all() -> Vec<(String, Vec<String>)> {
    let mut root = <Cli as CommandFactory>::command();
    root.build();
    let mut all = vec![("oomwhy".to_owned(), examples(&root))];
    all.extend(root.get_subcommands().map(|it| (it.get_name().to_owned(), examples(it))));
    all
}

fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.map(str::to_owned).collect()
}

/// The part of an example that a user types. Two spaces end it.
fn typed(line: &str) -> &str {
    let line = line.trim_start();
    line.split_once("  ").map_or(line, |(typed, _)| typed)
}

/// The words of a line as in a shell, without commands of other programs before or after a pipe.
fn words(line: &str) -> Vec<String> {
    let own = line.split(" | ").find(|part| part.starts_with("oomwhy")).unwrap();
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in own.chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

#[test]
fn every_command_has_examples_and_explains_them() {
    for (command, lines) in all() {
        if INTERNAL.contains(&command.as_str()) {
            continue;
        }
        assert!(!lines.is_empty(), "{command}");
        for line in lines {
            let comment = line.trim_start().split_once("  ");
            assert!(comment.is_some_and(|(_, comment)| !comment.trim().is_empty()), "{line}");
            assert!(line.len() <= 90, "{line}");
            let start =
                if command == "oomwhy" { command.clone() } else { format!("oomwhy {command}") };
            // oomwhy can be the last command of a pipe.
            assert!(typed(&line).contains(&start), "{command}: {line}");
        }
    }
}

#[test]
fn every_example_is_understood() {
    for line in all().into_iter().flat_map(|(_, lines)| lines) {
        let words = words(typed(&line));
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn example_that_does_not_trace_succeeds() {
    let directory = tempdir().unwrap();
    std::fs::create_dir(directory.path().join("man1")).unwrap();
    recorded::two_kills(&directory.path().join("kills.rec"));
    history_of::today(&directory.path().join("history"));
    let kills = Command::new(env!("CARGO_BIN_EXE_oomwhy"))
        .args(["export", "--output-file", "kills.jsonl", "--dir", "history"])
        .current_dir(&directory)
        .status();
    assert!(kills.unwrap().success());
    let mut n_run = 0;
    for line in all().into_iter().flat_map(|(_, lines)| lines) {
        let words = words(typed(&line));
        if words.get(1).is_some_and(|command| RUN.contains(&command.as_str())) {
            run(directory.path(), &line, &words);
            n_run += 1;
        }
    }
    assert!(n_run > 15, "{n_run}");
    let pages = std::fs::read_dir(directory.path().join("man1")).unwrap();
    assert!(pages.count() > 6);
}

fn run(directory: &Path, line: &str, words: &[String]) {
    let output = Command::new(env!("CARGO_BIN_EXE_oomwhy"))
        .args(words.get(1..).unwrap())
        .current_dir(directory)
        .env("OOMWHY_DIR", directory.join("history"))
        // The input of a pipe is a kernel's log.
        .stdin(if line.contains(" | oomwhy") {
            File::open(LOG).unwrap().into()
        } else {
            Stdio::null()
        })
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{line}: {} {stderr}", output.status);
    let goes_to_a_file = line.contains("--output-file") || line.contains("--dir");
    assert_eq!(output.stdout.is_empty(), goes_to_a_file, "{line}");
}
