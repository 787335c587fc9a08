//! The project's tasks.
//!
//! - `verbs/`: one file per verb
//! - `install/`: the needs of each verb (`needs.rs`), and how they are installed
//! - `fetch/`: kernels and programs of Debian, in the cache
//! - `vm/`: one boot of one kernel, and the guest's root file system
//! - `checks/`: the rules of the source tree that no compiler checks
//! - `process.rs` starts programs, `workspace.rs` has the directories and the builds

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task reports its progress")]

mod checks;
mod fetch;
mod install;
mod process;
mod verbs;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use install::needs;
use verbs::{
    bench, check, ci, containers, demo, fixtures, fuzz, kernels, kernels_doc, proof, test,
    vm as vm_verb,
};

/// Builds, tests and measures oomwhy. Each verb first installs its needs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                      explain a real OOM kill, in a virtual machine
  cargo xtask test --kernel 6.12        run the unit tests, then real kills on one kernel
  cargo xtask bench                     measure the costs, against the promises of docs/overhead.md
  cargo xtask vm --kernel 5.10 -- /oomwhy check
  cargo xtask check                     check the rules of the source tree
  cargo xtask proof matrix              test all kernels three times, resumable
  cargo xtask ci                        run all checks and tests, as CI does";

#[derive(Subcommand)]
enum Verb {
    /// Install the packages and tools for builds and tests (Debian or Ubuntu)
    Setup,
    /// Fetch the kernels of tests/kernels.toml into the cache
    Kernels(kernels::Arguments),
    /// Show one OOM kill live, in a virtual machine
    Demo(demo::Arguments),
    /// Run the unit tests, then real OOM kills on every kernel
    Test(test::Arguments),
    /// Run real containers out of memory in a virtual machine, and compare the names in the reports
    Containers(containers::Arguments),
    /// Run one command in a virtual machine
    Vm(vm_verb::Arguments),
    /// Measure the cost of oomwhy, and fail if a limit is exceeded
    Bench(bench::Arguments),
    /// Fuzz the readers of kernel logs, recordings and reports
    Fuzz(fuzz::Arguments),
    /// Write the support table of docs/kernels.md from the results of the last test
    KernelsDoc,
    /// Refresh tests/fixtures from virtual machines
    Fixtures(fixtures::Arguments),
    /// Check the rules of the source tree that no compiler checks
    Check(check::Arguments),
    /// Run a proof that takes long, and write its result into the page that makes the promise
    Proof(proof::Arguments),
    /// Run all checks and tests, as CI does
    Ci(ci::Arguments),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    install::install(&needs::of_verb(verb)?)?;
    match verb {
        Verb::Setup => Ok(()),
        Verb::Kernels(arguments) => kernels::run(arguments),
        Verb::Demo(arguments) => demo::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Containers(arguments) => containers::run(arguments),
        Verb::Vm(arguments) => vm_verb::run(arguments),
        Verb::Bench(arguments) => bench::run(arguments),
        Verb::Fuzz(arguments) => fuzz::run(arguments),
        Verb::KernelsDoc => kernels_doc::run(),
        Verb::Fixtures(arguments) => fixtures::run(arguments),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Proof(arguments) => proof::run(arguments),
        Verb::Ci(arguments) => ci::run(arguments),
    }
}
