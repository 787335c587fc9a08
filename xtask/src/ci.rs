//! The verb `ci`: every check in order of its price, up to the first that fails; a summary with
//! times at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::toolchain::{EbpfToolchain, TARGET};
use crate::{checks, process, setup, test, workspace};

/// What is built for this machine.
const HOST: [&str; 3] = ["--workspace", "--exclude", "oomwhy-ebpf"];

/// What only looks at the sources needs no eBPF programs (`tracer/build.rs`).
const WITHOUT_PROGRAMS: (&str, &str) = ("AYA_BUILD_SKIP", "1");

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("setup", setup::for_ci),
    ("format", format),
    ("checks", checks::run),
    ("clippy", clippy),
    ("clippy (eBPF)", clippy_ebpf),
    ("dependencies", dependencies),
    ("documentation", documentation),
    ("test", || test::run(&test::Arguments::default())),
];

pub(crate) fn run() -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let start = Instant::now();
        let result = step();
        times.push((name, start.elapsed()));
        if result.is_err() {
            summarize(&times, "failed");
            return result.with_context(|| format!("the step {name:?} failed"));
        }
    }
    summarize(&times, "passed");
    Ok(())
}

fn summarize(times: &[(&&str, Duration)], last: &str) {
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
    let toolchain = EbpfToolchain::find().context("no eBPF toolchain (cargo xtask setup)")?;
    let cargo = || {
        let mut command = Command::new("rustup");
        command.current_dir(workspace::root()).args(["run", toolchain.name(), "cargo"]);
        // The toolchain that runs this program must not leak into the other one.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
        command
    };
    let has_clippy = process::succeeds(cargo().args(["clippy", "--version"]));
    let verb = if has_clippy {
        "clippy"
    } else {
        println!("the toolchain {} has no clippy: the compiler's warnings only", toolchain.name());
        "check"
    };
    let mut command = cargo();
    command
        .args([verb, "--package", "oomwhy-ebpf", "--target", TARGET])
        .args(toolchain.build_arguments())
        .env("RUSTFLAGS", "-D warnings --cfg=bpf_target_arch=\"x86_64\"");
    process::run(&mut command)
}

fn dependencies() -> Result<()> {
    // Without advisories: a new one must not break a commit that was good yesterday.
    process::run(workspace::cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    process::run(workspace::cargo().arg("machete"))
}

fn documentation() -> Result<()> {
    let mut command = workspace::cargo();
    command.env(WITHOUT_PROGRAMS.0, WITHOUT_PROGRAMS.1).env("RUSTDOCFLAGS", "-D warnings");
    command.args(["doc", "--no-deps"]).args(HOST);
    process::run(&mut command)
}
