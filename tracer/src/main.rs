//! The binary: parse, run, turn the result into an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use oomwhy::{
    cli::Cli,
    command::{self, Failure},
};

fn main() -> ExitCode {
    let Err(Failure { exit, message }) = command::run(Cli::parse().command()) else {
        return ExitCode::SUCCESS;
    };
    if !message.is_empty() {
        // stderr may be closed; the code says it as well.
        let _ = writeln!(io::stderr(), "oomwhy: {message}");
    }
    exit.into()
}
