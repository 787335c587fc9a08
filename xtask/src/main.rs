//! oomwhy's chores. One file per verb; the files without a verb are what several verbs share:
//! `process` (running programs), `workspace` (where things are), `toolchain` (the eBPF compiler),
//! `apt` and `apt_sources` (kernels from Debian's archive), `initramfs`, `machine_type` and `vm`
//! (virtual machines).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore tells what it does")]

mod apt;
mod apt_sources;
mod bench;
mod busybox;
mod checks;
mod ci;
mod containers;
mod debian_root;
mod demo;
mod fixtures;
mod fuzz;
mod guest_std;
mod initramfs;
mod kernels;
mod kernels_doc;
mod machine_type;
mod process;
mod programs;
mod python;
mod setup;
mod test;
mod toolchain;
mod vm;
mod vm_command;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Chores of the oomwhy project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask setup                     install what building and testing need
  cargo xtask demo                      see a real OOM kill explained, in a virtual machine
  cargo xtask test --kernel 6.12        unit tests, then real kills on one kernel
  cargo xtask bench                     what oomwhy costs, against the limits of docs/overhead.md
  cargo xtask vm --kernel 5.10 -- /oomwhy check
  cargo xtask ci                        everything that CI runs";

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing on this machine (Debian or Ubuntu)
    Setup,
    /// Fetch the kernels of tests/kernels.toml into the cache
    Kernels(kernels::Arguments),
    /// Show one OOM kill live, in a virtual machine
    Demo(demo::Arguments),
    /// Run the unit tests, then real OOM kills on every kernel
    Test(test::Arguments),
    /// Let real containers run out of memory in a virtual machine, and see them named
    Containers(containers::Arguments),
    /// Run one command in a virtual machine
    Vm(vm_command::Arguments),
    /// Measure what oomwhy costs, and fail when it is more than promised
    Bench(bench::Arguments),
    /// Feed anything at all to what reads files of others
    Fuzz(fuzz::Arguments),
    /// Write the support table of docs/kernels.md from the results of the last test
    KernelsDoc,
    /// Refresh tests/fixtures from virtual machines
    Fixtures(fixtures::Arguments),
    /// Run all checks and tests, as CI does
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup => setup::run(),
        Verb::Kernels(arguments) => kernels::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Containers(arguments) => containers::run(&arguments),
        Verb::Vm(arguments) => vm_command::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::KernelsDoc => kernels_doc::run(),
        Verb::Fixtures(arguments) => fixtures::run(&arguments),
        Verb::Ci => ci::run(),
    }
}
