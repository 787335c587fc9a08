//! The command line, one file per subcommand. The doc comments are the help.
//!
//! `-o` names a format, as in kubectl and journalctl. `--output-file` names a file.

mod check;
mod destination;
mod durations;
mod explain;
mod filters;
mod flame;
mod history;
mod numbers;
mod replay;
mod report_options;
mod risk;
mod share;
mod sizes;
mod symbolize;
mod watch;

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub(crate) use self::{
    check::{CheckArgs, CheckFormat},
    destination::{ColorArgs, Destination},
    explain::ExplainArgs,
    flame::{FlameArgs, ProfileFormat},
    history::{
        DirArgs, ExportArgs, ExportFormat, ListArgs, ListFormat, MatchArgs, ShowArgs, ShowFormat,
        StoreArgs,
    },
    replay::ReplayArgs,
    report_options::{Format, OutputArgs, PrivacyArgs, SelectArgs},
    risk::{RiskArgs, RiskFormat},
    symbolize::SymbolizeArgs,
    watch::{Attach, WatchArgs},
};
use crate::{
    fmt::{
        lines::log_stderr,
        sanitize::{Safe, is_unsafe},
        width,
    },
    host::btf::KERNEL_BTF,
};

const EXAMPLES: &str = "\
Examples:
  oomwhy                               trace until Ctrl-C
  oomwhy -o json --count 1             the next kill as one JSON object
  oomwhy --cgroup '/kubepods/**'       only kills that involve these cgroups
  oomwhy --record kills.rec            trace, and record the raw events
  oomwhy replay kills.rec --comm java  print reports from a recording
  oomwhy watch --store                 trace, and store the reports
  oomwhy list -S yesterday             reports stored since yesterday";

const UNPIN_EXAMPLES: &str = "\
Examples:
  oomwhy unpin /sys/fs/bpf/oomwhy      after the last `oomwhy --pin` has exited";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  oomwhy schema                            for a validator or a code generator";

const MAN_EXAMPLES: &str = "\
Examples:
  oomwhy man                               the main page
  oomwhy man --dir man1                    a page for each command";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  oomwhy completions bash              for /etc/bash_completion.d/oomwhy
  oomwhy completions zsh               for a directory of $fpath, as _oomwhy";

/// Shows who the OOM killer killed, whose limit was hit, and why that process.
///
/// Attaches to the kernel's OOM killer and prints a report for every invocation: the victims, the
/// task that triggered it, the limit that was hit, and every candidate with its points broken down.
/// Nothing polls. Sizes are in IEC units (1 MiB = 1024 KiB); points are pages, as in the kernel.
/// --dir and --color may stand before a command, too.
#[derive(Debug, Parser)]
#[command(
    name = "oomwhy",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES,
    hide_possible_values = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: WatchArgs,
}

impl Cli {
    /// The command to run; `watch` if none is given.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Watch(self.watch))
    }
}

/// Parses a command line, the program's name first. Help is as wide as the terminal.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = <Cli as CommandFactory>::command().term_width(width::help());
    let words = with_command_first(arguments(words.into_iter()));
    let mut matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints a usage error, or the help that was asked for, and ends the program.
pub(crate) fn exit(error: &clap::Error) -> ! {
    let is_safe = |word: OsString| !word.to_string_lossy().contains(is_unsafe);
    if !error.use_stderr() || env::args_os().all(is_safe) {
        error.exit();
    }
    // The error repeats words of the command line, which can be names of files. It is made again
    // from words that are safe.
    let safe = |word: OsString| String::from(Safe::from(word.to_string_lossy().into_owned()));
    match parse(env::args_os().map(|word| safe(word).into())) {
        Err(again) if again.use_stderr() => again.exit(),
        _ => {
            log_stderr(error.render().to_string());
            process::exit(error.exit_code())
        }
    }
}

/// Options of several commands that may stand before the command.
const BEFORE_COMMAND: [&str; 2] = ["--dir", "--color"];

/// The words with such options moved behind the command. They are no global arguments of clap: each
/// command would then accept them, also those that read no history and print no color.
fn with_command_first(mut words: Vec<OsString>) -> Vec<OsString> {
    let mut index = 1;
    while let Some(word) = words.get(index).and_then(|word| word.to_str()) {
        let (name, has_value) =
            word.split_once('=').map_or((word, false), |(name, _)| (name, true));
        if !BEFORE_COMMAND.contains(&name) {
            break;
        }
        index += if has_value { 1 } else { 2 };
    }
    let word = words.get(index).and_then(|word| word.to_str());
    let is_command =
        word.is_some_and(|word| <Cli as CommandFactory>::command().find_subcommand(word).is_some());
    if is_command && let Some(moved) = words.get_mut(1..=index) {
        moved.rotate_right(1);
    }
    words
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace OOM kills; the default if no command is given.
    Watch(WatchArgs),
    /// Print the reports of a recording.
    ///
    /// The output equals that of the live run, byte for byte.
    Replay(ReplayArgs),
    /// Explain kills at length, also from a kernel log.
    ///
    /// Answers who, whose limit, why that process, what grew, and what to change. Reads reports
    /// printed by `-o json`, or the log of a kernel from 4.19 on, with any prefix that
    /// dmesg, syslog or journalctl adds. Exits with 1 if it finds no kill. The page of `-o html` is
    /// self-contained: attach it to the incident.
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Draw a flame graph of the memory that grew before a kill.
    ///
    /// Needs a report of `oomwhy watch --growth`. Exits with 1 if there is none.
    #[command(after_help = flame::EXAMPLES)]
    Flame(FlameArgs),
    /// Show how near each memory limit is and the likely next victim.
    ///
    /// For each cgroup with a limit, prints its usage, its growth, and how much of the usage can be
    /// reclaimed. Also prints when it reaches the limit at the present rate, and the process that
    /// the OOM killer would choose now, by the kernel's own points. Reads cgroupfs and /proc. Needs
    /// no BPF. For your own processes it needs no root.
    #[command(after_help = risk::EXAMPLES)]
    Risk(RiskArgs),
    /// List stored reports, newest last.
    ///
    /// `oomwhy watch --store` stores them. Exits with 1 if nothing matches.
    List(ListArgs),
    /// Print one stored report as `oomwhy watch` does.
    Show(ShowArgs),
    /// Print stored reports as JSON.
    Export(ExportArgs),
    /// Detach the probes that --pin left attached.
    ///
    /// Also removes the pins. Unreported kills are lost.
    #[command(after_help = UNPIN_EXAMPLES)]
    Unpin {
        /// Directory given to --pin.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Check what oomwhy can see on this host.
    ///
    /// Lists every hook and every group of report fields: available or not, why not, and how to fix
    /// it. Loads and attaches the probes for a moment. Exits with 0 if full reports are available,
    /// 77 if a permission or a setting is missing, 69 if the kernel does not support
    /// something.
    Check(CheckArgs),
    /// Print the JSON Schema of the output of -o json.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Print the manual page, or write the pages of all commands.
    #[command(hide = true, after_help = MAN_EXAMPLES)]
    Man {
        /// Write one page per command into DIR.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Name the frames of user stacks in reports that have only build ids.
    ///
    /// A frame is a build id and an offset in that file. The same file, or the debug file with its
    /// symbols, can name it later and on another machine.
    #[command(after_help = symbolize::EXAMPLES)]
    Symbolize(SymbolizeArgs),
    /// Name addresses of user space, as the helper process of oomwhy.
    #[command(hide = true)]
    UserSymbols,
    /// Name addresses of the kernel, as the helper process of oomwhy.
    #[command(hide = true)]
    KernelSymbols,
    /// Open files for the tracer, as its helper process.
    #[command(hide = true)]
    OpenFiles,
    /// Run as the victim of `check --self-test`.
    #[command(hide = true)]
    SelfTestVictim {
        /// Directory of the cgroup to join.
        cgroup: PathBuf,
    },
    /// Print the part of a kernel's BTF that oomwhy reads, as BTF, for tests and bug reports.
    #[command(hide = true)]
    ReducedBtf {
        /// BTF of the kernel to reduce.
        #[arg(default_value = KERNEL_BTF, value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Print the completions for a shell.
    #[command(hide = true, after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell: bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
}

pub(crate) fn write_completions(shell: Shell, out: &mut dyn io::Write) {
    clap_complete::generate(shell, &mut <Cli as CommandFactory>::command(), "oomwhy", out);
}

pub(crate) fn write_man(out: &mut dyn io::Write) -> io::Result<()> {
    clap_mangen::Man::new(<Cli as CommandFactory>::command()).render(out)
}

/// The arguments of this process. clap knows `help` and `--help`, but not `help --help`.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    let is_help = |at: usize, words: &[&str]| {
        arguments.get(at).is_some_and(|it| words.iter().any(|word| it == *word))
    };
    if is_help(1, &["help"]) && is_help(2, &["-h", "--help"]) {
        arguments.remove(1);
    }
    arguments
}

/// Writes oomwhy-COMMAND.1 for each command that is not hidden.
pub(crate) fn write_man_pages(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(<Cli as CommandFactory>::command(), directory)
}

#[cfg(test)]
mod tests;
