//! The verb `ci`: every check and test, the cheap ones first, up to the first failure. Each step
//! installs its needs. A summary with times is printed at the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::builder::PossibleValuesParser;
use oomwhy_tests::matrix;

use super::{check, test};
use crate::install::needs::{self, Need, Program};
use crate::install::{self, EbpfToolchain, TARGET};
use crate::{process, workspace};

/// The packages that are built for the host.
const HOST: [&str; 3] = ["--workspace", "--exclude", "oomwhy-ebpf"];

/// Tools that only read the sources need no eBPF programs (`tracer/build.rs`).
pub(super) const WITHOUT_PROGRAMS: (&str, &str) = ("AYA_BUILD_SKIP", "1");

/// A part of `cargo xtask ci`.
pub(super) struct Step {
    pub(super) name: &'static str,
    needs: fn() -> Result<Vec<Need>>,
    run: fn() -> Result<()>,
}

pub(super) const STEPS: &[Step] = &[
    Step { name: "format", needs: || Ok(vec![]), run: format },
    Step { name: "check", needs: || Ok(vec![]), run: || check::run(&check::Arguments::default()) },
    Step { name: "clippy", needs: || Ok(vec![Need::Linker]), run: clippy },
    Step {
        name: "clippy (eBPF)",
        needs: || Ok(vec![Need::Linker, Need::Probes, Need::ProbeLints]),
        run: clippy_ebpf,
    },
    Step { name: "documentation", needs: || Ok(vec![Need::Linker]), run: documentation },
    Step {
        name: "test",
        needs: || Ok(needs::of_kernels(&matrix::kernels()?)),
        run: || test::run(&test::Arguments::default()),
    },
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out this step (may be given several times)
    #[arg(long, value_name = "STEP")]
    #[arg(value_parser = PossibleValuesParser::new(STEPS.iter().map(|it| it.name)))]
    skip: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_wanted = |step: &&Step| !arguments.skip.iter().any(|name| name == step.name);
    let mut times = Vec::new();
    for Step { name, needs, run } in STEPS.iter().filter(is_wanted) {
        println!("\n=== {name}");
        let start = Instant::now();
        let result = needs().and_then(|needs| install::install(&needs)).and_then(|()| run());
        times.push((*name, start.elapsed()));
        if result.is_err() {
            summarize(&times, "failed");
            return result.with_context(|| format!("the step {name:?} failed"));
        }
    }
    summarize(&times, "passed");
    Ok(())
}

fn summarize(times: &[(&str, Duration)], last: &str) {
    println!("\n=== summary");
    for (index, (name, time)) in times.iter().enumerate() {
        let outcome = if index + 1 == times.len() { last } else { "passed" };
        println!("{name:<16} {outcome} {:>7.1} s", time.as_secs_f64());
    }
}

fn format() -> Result<()> {
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut command = workspace::cargo();
    command.env(WITHOUT_PROGRAMS.0, WITHOUT_PROGRAMS.1);
    command.arg("clippy").args(HOST).args(["--all-targets", "--", "-D", "warnings"]);
    process::run(&mut command)
}

fn clippy_ebpf() -> Result<()> {
    let toolchain =
        EbpfToolchain::find().context("no eBPF toolchain is installed\nhint: cargo xtask setup")?;
    let cargo = || {
        let mut command = process::command(Program::Rustup)?;
        command.current_dir(workspace::root()).args(["run", toolchain.name(), "cargo"]);
        workspace::forget_toolchain(&mut command);
        anyhow::Ok(command)
    };
    let has_clippy = process::succeeds(cargo()?.args(["clippy", "--version"]));
    let verb = if has_clippy {
        "clippy"
    } else {
        println!("the toolchain {} has no clippy: only compiler warnings", toolchain.name());
        "check"
    };
    let mut command = cargo()?;
    command
        .args([verb, "--package", "oomwhy-ebpf", "--target", TARGET])
        .args(toolchain.build_arguments())
        .env("RUSTFLAGS", "-D warnings --cfg=bpf_target_arch=\"x86_64\"");
    process::run(&mut command)
}

fn documentation() -> Result<()> {
    let mut command = workspace::cargo();
    command.env(WITHOUT_PROGRAMS.0, WITHOUT_PROGRAMS.1).env("RUSTDOCFLAGS", "-D warnings");
    command.args(["doc", "--no-deps"]).args(HOST);
    process::run(&mut command)
}
