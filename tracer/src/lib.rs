//! oomwhy: why did the OOM killer kill that?
//!
//! ```text
//! kernel hook -> probe -> emit | ring buffer | ring -> decode -> assemble -> enrich -> compose -> sinks
//! '----- tracer-ebpf -----'  '- tracer-common -'  '------------------ this crate ----------------'
//! ```
//!
//! The modules depend on each other in one direction: ARCHITECTURE.md has the order, and
//! `cargo xtask ci` checks it.

mod bpf;
mod cli;
mod commands;
mod compose;
mod enrich;
mod fmt;
mod growth;
mod history;
mod host;
mod kmsg;
mod model;
mod output;
mod pipeline;
mod risk;
mod symbolize;

#[doc(hidden)]
pub mod testing;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

/// Parses the command line, runs the command, and returns its exit code. Errors go to stderr.
pub fn main() -> ExitCode {
    let parsed = cli::parse(env::args_os()).unwrap_or_else(|error| error.exit());
    let Err(commands::Failure { exit, message }) = commands::run(parsed.command()) else {
        return ExitCode::SUCCESS;
    };
    if !message.is_empty() {
        // stderr may be closed; the exit code reports the failure as well.
        let _ = writeln!(io::stderr(), "oomwhy: {message}");
    }
    exit.into()
}
