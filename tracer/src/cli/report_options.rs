//! Which reports are printed, how, and what they may contain: shared by `watch` and `replay`.

use clap::{ArgAction, Args, ValueEnum};

use super::{ColorArgs, Destination, filters, numbers};

#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// Set the format: text, json or events.
    ///
    /// text prints a block per invocation. json prints one object per line; its keys are stable
    /// (`oomwhy schema`). events prints every decoded kernel event as it comes, for debugging.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
    #[command(flatten)]
    pub to: Destination,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Print only errors on stderr.
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not truncate long lists.
    ///
    /// When tracing, also print on stderr how the probes were loaded and where this kernel keeps
    /// the fields that they read.
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,
}

/// Filters. A report must pass all of them.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectArgs {
    /// Exit after N reports.
    #[arg(long, value_name = "N", value_parser = numbers::reports)]
    pub count: Option<u64>,
    /// Print only kills that involve this cgroup.
    ///
    /// Matches the cgroup whose limit was hit, or the cgroup of a victim or of the triggering task.
    /// A match on a parent includes its children. `*` matches part of a name, `**` any number of
    /// names.
    #[arg(long, value_name = "GLOB", value_parser = filters::not_empty)]
    pub cgroup: Option<String>,
    /// Print only kills of or by tasks with this name.
    ///
    /// The task's name in the kernel, at most 15 bytes. The chosen task counts, too.
    #[arg(long, value_name = "NAME", value_parser = filters::comm)]
    pub comm: Option<String>,
    /// Print only kills of or by these processes.
    ///
    /// Process ids as `ps` shows them on the host. The chosen task counts, too.
    #[arg(short, long, value_name = "PID[,PID]", value_delimiter = ',',
        value_parser = numbers::pid)]
    pub pid: Vec<i32>,
}

/// How command lines are shown. They can hold secrets.
#[derive(Args, Clone, Debug, Default)]
pub struct PrivacyArgs {
    /// Omit command lines everywhere.
    ///
    /// Applies to every output and to a new recording.
    #[arg(long)]
    pub no_cmdline: bool,
    /// Mask what matches REGEX in command lines.
    ///
    /// Applies to every output. The arguments are joined with blanks before the match. If the
    /// expression has a capture group, only that group is masked, e.g. '--password[= ](\S+)'.
    /// A recording is not masked.
    #[arg(
        long,
        value_name = "REGEX",
        allow_hyphen_values = true,
        conflicts_with = "no_cmdline",
        value_parser = filters::not_empty
    )]
    pub redact: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A block of text per invocation.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// Each decoded kernel event as it comes.
    Events,
}
