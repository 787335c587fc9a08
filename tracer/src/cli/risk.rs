//! Arguments of `oomwhy risk`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ColorArgs, Destination, durations, filters};

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy risk                          a table, most urgent first
  oomwhy risk --watch                  the same, live on the full screen
  oomwhy risk --cgroup '/kubepods/**'  only cgroups below /kubepods";

#[derive(Args, Clone, Debug)]
pub struct RiskArgs {
    /// Print in this format: table or json.
    ///
    /// json prints one object per line; its keys are stable (docs/risk.md).
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: RiskFormat,
    #[command(flatten)]
    pub to: Destination,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Show only these cgroups and those below them.
    #[arg(long, value_name = "GLOB", value_parser = filters::not_empty)]
    pub cgroup: Option<String>,
    /// Update until Ctrl-C, on the full screen or as one JSON object per line.
    #[arg(short, long)]
    pub watch: bool,
    /// Measure growth over this time, and update this often [default: 1s].
    ///
    /// From 100ms to 1h. If `oomwhy watch --growth` is running, `risk` uses its recordings: exact,
    /// immediate, and with the growing processes. Reading them needs CAP_SYS_ADMIN.
    #[arg(long, value_name = "DURATION", value_parser = durations::interval)]
    pub interval: Option<Duration>,
}

impl RiskArgs {
    pub fn every(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(1))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RiskFormat {
    /// One row per cgroup.
    #[default]
    Table,
    /// One JSON object per line.
    Json,
}
