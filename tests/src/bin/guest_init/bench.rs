//! Measures the costs of oomwhy, in a guest whose clock counts instructions.

mod comparison;
mod counts;
mod faults;
mod idle;
mod kills;
mod programs;
mod status;
mod terminal;
mod tool;
mod trace;

use anyhow::Result;
use oomwhy_tests::bench::{Bench, COMPARISON_FILE, COUNTS_FILE, FAULTS_FILE, IDLE_FILE};

use crate::results;

/// Measures, and stores the numbers in the results.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Counts { sleepers, repeats } => {
            let counts = counts::measure(sleepers, *repeats)?;
            results::store(COUNTS_FILE, serde_json::to_vec_pretty(&counts)?)
        }
        Bench::Faults { mib, repeats, tools } => {
            let faults = faults::measure(*mib, *repeats, tools)?;
            results::store(FAULTS_FILE, serde_json::to_vec_pretty(&faults)?)
        }
        Bench::Idle { rounds } => {
            let idle = idle::measure(*rounds)?;
            results::store(IDLE_FILE, serde_json::to_vec(&idle)?)
        }
        Bench::Comparison { tools, starts, kills, idle_seconds } => {
            let effort =
                comparison::Effort { starts: *starts, kills: *kills, idle_seconds: *idle_seconds };
            let comparison = comparison::measure(tools, &effort)?;
            results::store(COMPARISON_FILE, serde_json::to_vec_pretty(&comparison)?)
        }
    }
}
