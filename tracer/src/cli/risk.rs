//! `oomwhy risk`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Destination, durations};

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy risk                          a table, the most urgent first
  oomwhy risk --watch                  the same live, on the whole screen
  oomwhy risk --cgroup '/kubepods/**'  those below a cgroup only";

/// What `risk` takes.
#[derive(Args, Clone, Debug)]
pub struct RiskArgs {
    /// Format: table or json.
    ///
    /// json: one object a line, with keys that stay (docs/risk.md).
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: OutlookFormat,
    /// Where to print.
    #[command(flatten)]
    pub to: Destination,
    /// Only these cgroups, and those below them.
    #[arg(long, value_name = "GLOB")]
    pub cgroup: Option<String>,
    /// Go on, until Ctrl-C: on the whole screen, or one JSON object a line.
    #[arg(short, long)]
    pub watch: bool,
    /// Time over which growth is measured, and between two pictures [default: 1s].
    ///
    /// From 100ms to 1h. While an `oomwhy watch --growth` runs, growth is what that has recorded, who grows
    /// is shown as well, and nothing is waited for; that takes CAP_SYS_ADMIN.
    #[arg(long, value_name = "DURATION", value_parser = durations::interval)]
    pub interval: Option<Duration>,
}

impl RiskArgs {
    /// The interval.
    pub fn every(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(1))
    }
}

/// Format of an outlook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutlookFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
}
