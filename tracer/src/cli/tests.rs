//! Usage, and the help as it is printed.

use std::ffi::OsString;

use clap::{CommandFactory, error::ErrorKind};

use clap_complete::Shell;

use super::{Cli, Command, Format, WatchArgs, destination::Color, write_completions, write_man};

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = ["oomwhy"].into_iter().chain(line.split_whitespace());
    super::parse(words.map(OsString::from)).map(Cli::command)
}

fn watch(line: &str) -> WatchArgs {
    match parse(line) {
        Ok(Command::Watch(args)) => args,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn definition_is_consistent() {
    <Cli as CommandFactory>::command().debug_assert();
}

#[test]
fn no_command_means_watch() {
    for line in ["-o json --count 3 -p 1,22", "watch -o json --count 3 -p 1 -p 22"] {
        let args = watch(line);
        assert_eq!(args.output.output, Format::Json);
        assert_eq!(args.select.count, Some(3));
        assert_eq!(args.select.pid, [1, 22]);
    }
    let args = watch("");
    assert_eq!((args.output.output, args.output.color.color), (Format::Text, Color::Auto));
    assert!(args.select.pid.is_empty() && !args.output.verbose);
}

#[test]
fn replay_accepts_output_flags() {
    let Ok(Command::Replay(args)) = parse("replay kills.rec -o events --comm java -v") else {
        panic!("not replay");
    };
    assert_eq!(args.file.to_str(), Some("kills.rec"));
    assert_eq!(args.output.output, Format::Events);
    assert_eq!(args.select.comm.as_deref(), Some("java"));
    assert!(args.output.verbose);
}

#[test]
fn redact_expression_may_start_with_hyphens() {
    for line in ["--redact --password=\\S+ -o json", "--redact=--password=\\S+ -o json"] {
        let args = watch(line);
        assert_eq!(args.privacy.redact.as_deref(), Some("--password=\\S+"));
        assert_eq!(args.output.output, Format::Json);
    }
}

#[test]
fn help_of_help_is_the_help() {
    let cut = |words: &[&str]| super::arguments(words.iter().map(Into::into));
    assert_eq!(cut(&["oomwhy", "help", "--help"]), ["oomwhy", "--help"]);
    assert_eq!(cut(&["oomwhy", "help", "-h"]), ["oomwhy", "-h"]);
    for line in [["oomwhy", "help", "list"], ["oomwhy", "list", "help"]] {
        assert_eq!(cut(&line), line);
    }
}

#[test]
fn help_names_only_options_that_the_command_has() {
    let mut command = <Cli as CommandFactory>::command();
    let replay = command.find_subcommand_mut("replay").unwrap();
    let help = replay.render_long_help().to_string();
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    assert!(options.contains("--redact") && !options.contains("--record"), "{help}");
}

#[test]
fn value_that_never_matches_exits_with_2() {
    for line in [
        ["--comm", "abcdefghijklmnopqrst"].as_slice(),
        &["--comm", ""],
        &["--redact", ""],
        &["--cgroup", ""],
        &["replay", "x.rec", "--cgroup", ""],
        &["list", ""],
        &["list", "--comm", "abcdefghijklmnopqrst"],
        &["list", "--pod", ""],
        &["list", "--container", ""],
        &["risk", "--cgroup", ""],
        &["show", ""],
    ] {
        let error =
            super::parse([&["oomwhy"][..], line].concat().into_iter().map(Into::into)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for line in ["-o xml", "-p 0", "-p x", "--count 0", "replay", "nonsense", "--ring-size 3"] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let help = parse("--help").unwrap_err();
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
}

#[test]
fn options_before_the_command_are_those_of_the_command() {
    for line in [
        "list --dir X --color always",
        "--dir X list --color always",
        "--color=always --dir X list",
        "--dir=X --color always list",
    ] {
        let Ok(Command::List(args)) = parse(line) else {
            panic!("{line}");
        };
        assert_eq!((args.dir.dir.to_str(), args.color.color), (Some("X"), Color::Always), "{line}");
    }
    // The value of an option is no command, and a command without the option refuses it.
    assert!(matches!(parse("--store --dir list"), Ok(Command::Watch(_))));
    assert_eq!(watch("--dir list --store").store.dir.unwrap().to_str(), Some("list"));
    for line in ["--dir X schema", "--color always symbolize", "--dir X list --dir Y", "-v list"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn help_of_every_command_fits_80_columns() {
    let mut root = <Cli as CommandFactory>::command().term_width(80);
    root.build();
    let mut commands: Vec<_> = root.get_subcommands().cloned().collect();
    commands.push(root);
    for mut command in commands.into_iter().map(|command| command.term_width(80)) {
        let help = format!("{}{}", command.render_help(), command.render_long_help());
        for line in help.lines() {
            assert!(line.len() <= 80, "{}: {line}", command.get_name());
        }
    }
}

#[test]
fn short_help_fits_a_screen() {
    let mut command = <Cli as CommandFactory>::command().term_width(80);
    let help = command.render_help().to_string();
    insta::assert_snapshot!("short_help", help);
    assert!(help.lines().count() <= 48, "{} lines", help.lines().count());
    assert!(help.lines().all(|line| line.len() <= 80));
}

#[test]
fn long_help_equals_snapshot() {
    let mut command = <Cli as CommandFactory>::command().term_width(80);
    insta::assert_snapshot!("long_help", command.render_long_help().to_string());
}

#[test]
fn man_page_and_completions_have_all_options() {
    let mut man = Vec::new();
    write_man(&mut man).unwrap();
    let mut bash = Vec::new();
    write_completions(Shell::Bash, &mut bash);
    for text in [man, bash] {
        let text = String::from_utf8(text).unwrap().replace('\\', "");
        assert!(text.contains("--output-file") && text.contains("replay"), "{text}");
    }
}
