//! Arguments of `oomwhy check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::ColorArgs;

const EXAMPLES: &str = "\
Examples:
  oomwhy check                     what oomwhy can see here, and how to see more
  oomwhy check --self-test         make a test kill and compare its report
  oomwhy check -o json             for other tools";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Make a real OOM kill and check its report.
    ///
    /// Starts a child in a temporary cgroup limited to 16 MiB, lets it be OOM-killed, and removes
    /// the cgroup. Exits with 0 if the report is right, 1 if not, and 77 or 69 if the test cannot
    /// run.
    #[arg(long)]
    pub self_test: bool,
    /// Print in this format: text or json.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: CheckFormat,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Use this BTF file if the kernel has none in /sys/kernel/btf/vmlinux.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub btf: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Text for a person (docs/check.md).
    #[default]
    Text,
    /// One JSON object (docs/check.md).
    Json,
}
