//! The commands, one module each. Each runs with its arguments and ends with an [`Exit`] code.

mod attach;
pub(crate) mod check;
pub(crate) mod exit;
pub(crate) mod explain;
pub(crate) mod flame;
mod history;
mod json_lines;
mod output_file;
mod outputs;
mod pinned;
pub(crate) mod risk;
pub(crate) mod self_test;
mod startup;
mod stop_deadline;
pub(crate) mod symbolize;
pub(crate) mod watch;
mod watch_log;

use std::io::{self, Write};

use globset::GlobMatcher;
use regex_lite::Regex;

use crate::{
    bpf::hooks,
    cli::{self, Command, PrivacyArgs, ReplayArgs, SelectArgs},
    commands::{
        exit::Exit,
        output_file::{Used, cannot_write, open_output, stdout, stdout_of_process},
    },
    enrich::privacy::Privacy,
    fmt::{errors::with_sources, lines::log_stderr, sanitize::Safe},
    host::{btf::KernelBtf, opener},
    model::{host::Host, report},
    pipeline::{
        Pipeline, PipelineConfig, PipelineError,
        filter::{Filter, cgroup_glob},
        replay::{self, ReplayError},
        sink::SinkError,
    },
    symbolize::{kernel, user},
};

/// A failed command: the message and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub exit: Exit,
    /// For stderr: what failed, on what and why, in lower case without a period. If there is a fix,
    /// a line `hint: ...` follows.
    pub message: String,
}

impl Failure {
    /// An error during the run, with exit code 1.
    pub(crate) fn runtime(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit: Exit::Failure, message: with_sources(error) }
    }

    /// A kernel without a required feature.
    pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit: Exit::Unavailable, message: with_sources(error) }
    }
}

/// Runs a command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Watch(arguments) => watch::watch(&arguments),
        Command::Replay(arguments) => replay(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Flame(arguments) => flame::flame(&arguments),
        Command::Risk(arguments) => risk::risk(&arguments),
        Command::List(arguments) => history::list::list(&arguments),
        Command::Show(arguments) => history::show(&arguments),
        Command::Export(arguments) => history::export(&arguments),
        Command::Unpin { dir } => {
            let message = pinned::unpin(&dir)?;
            log_stderr(message);
            Ok(())
        }
        Command::Check(arguments) => check::command::check(&arguments),
        Command::Schema => print(|out| {
            serde_json::to_writer_pretty(&mut *out, &report::json_schema())?;
            writeln!(out)
        }),
        Command::Symbolize(arguments) => symbolize::symbolize(&arguments),
        Command::UserSymbols => {
            let answered = user::answer(io::stdin().lock(), stdout_of_process().lock());
            answered.map_err(|error| Failure::runtime(&error))
        }
        Command::KernelSymbols => {
            let answered = kernel::answer(io::stdin().lock(), stdout_of_process().lock());
            answered.map_err(|error| Failure::runtime(&error))
        }
        Command::OpenFiles => opener::serve(io::stdin()).map_err(|error| Failure::runtime(&error)),
        Command::SelfTestVictim { cgroup } => {
            self_test::victim::main(&cgroup).map_err(|error| Failure::runtime(&error))
        }
        Command::ReducedBtf { file } => {
            let reduced = KernelBtf::reduced(&file, &hooks::wanted())
                .map_err(|error| watch::unusable_btf(&error))?;
            print(|out| out.write_all(&reduced))
        }
        Command::Man { dir: None } => print(|out| cli::write_man(out)),
        Command::Man { dir: Some(dir) } => {
            cli::write_man_pages(&dir).map_err(|error| cannot_write(&dir, &error))
        }
        Command::Completions { shell } => print(|out| {
            cli::write_completions(shell, out);
            Ok(())
        }),
    }
}

/// Prints the program's own output of `make` on stdout. It is built in memory first, because
/// clap_complete panics on a closed pipe.
fn print(make: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut text = Vec::new();
    make(&mut text).map_err(|error| Failure::runtime(&error))?;
    let mut out = stdout().machine();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// An input that cannot be read. `name` is a path or "stdin".
fn cannot_read(name: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "\nhint: run as root or as the owner of the file",
        io::ErrorKind::NotFound => "\nhint: name a file that exists",
        io::ErrorKind::IsADirectory => {
            "\nhint: name a file in it; `oomwhy list --dir DIR` lists a history"
        }
        _ => "",
    };
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Failure,
    };
    Failure { exit, message: format!("cannot read {name}: {error}{hint}") }
}

/// A pattern that cannot be parsed. `what` is its option, or the pattern itself.
fn wrong_pattern(what: &str, error: &str) -> Failure {
    let (what, error) = (Safe::from(what), Safe::from(error));
    let hint = "hint: put a special character in brackets if it stands for itself, as in `[[]`";
    Failure { exit: Exit::Usage, message: format!("{what}: {error}\n{hint}") }
}

fn cgroup_option(pattern: Option<&str>) -> Result<Option<GlobMatcher>, Failure> {
    pattern.map(cgroup_glob).transpose().map_err(|error| wrong_pattern("--cgroup", &error))
}

fn filter(select: &SelectArgs) -> Result<Filter, Failure> {
    let cgroup = cgroup_option(select.cgroup.as_deref())?;
    Ok(Filter { cgroup, comm: select.comm.clone(), pids: select.pid.clone() })
}

fn privacy(arguments: &PrivacyArgs) -> Result<Privacy, Failure> {
    let redact =
        arguments.redact.as_deref().map(Regex::new).transpose().map_err(|error| Failure {
            exit: Exit::Usage,
            message: format!(
                "--redact: {}\nhint: put a backslash before a special character if it stands for \
                 itself, as in `\\(`",
                Safe::from(error.to_string())
            ),
        })?;
    Ok(Privacy { no_cmdline: arguments.no_cmdline, redact })
}

/// `oomwhy replay FILE`.
fn replay(arguments: &ReplayArgs) -> Result<(), Failure> {
    let ReplayArgs { file, output, select, privacy } = arguments;
    let filter = filter(select)?;
    let privacy = self::privacy(privacy)?;
    let to = open_output(&output.to, &[Used::Recording(file)])?;
    let outputs = outputs::replay_outputs(output, to);
    let pipeline = |mut host: Host| {
        host.missing.extend(privacy.missing(&host.missing));
        Pipeline::new(PipelineConfig { host, outputs, filter, count: select.count, privacy })
    };
    match replay::replay(file, pipeline) {
        Err(ReplayError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}
