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

use std::{env, process::ExitCode};

use self::{fmt::lines::log_stderr, host::panic_hook};

/// Parses the command line, runs the command, and returns its exit code. Errors go to stderr.
pub fn main() -> ExitCode {
    panic_hook::install();
    let parsed = cli::parse(env::args_os()).unwrap_or_else(|error| cli::exit(&error));
    let Err(commands::Failure { exit, message }) = commands::run(parsed.command()) else {
        return ExitCode::SUCCESS;
    };
    if !message.is_empty() {
        log_stderr(format!("oomwhy: {message}"));
    }
    exit.into()
}
