//! `oomwhy check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

const EXAMPLES: &str = "\
Examples:
  oomwhy check                         what can be seen here, and how to see more
  oomwhy check --self-test             a kill made for the purpose: is it seen
  oomwhy check -o json                 for other tools";

/// What `check` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Make a real kill, and see whether it is reported as it was.
    ///
    /// Of a child of its own in a cgroup of its own with a limit of 16 MiB, made and removed. Exits with 0 if the
    /// report agrees with what was done, 1 if not, 77 or 69 where it cannot be done.
    #[arg(long)]
    pub self_test: bool,
    /// Format: text or json.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: CheckFormat,
    /// BTF of a kernel that does not bring its own.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub btf: Option<PathBuf>,
}

/// Format of what `check` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object, see docs/check.md.
    Json,
}
