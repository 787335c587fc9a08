//! The verb `fuzz`: feeds random input to the readers of bytes from untrusted sources. New inputs
//! are stored in fuzz/corpus, failing ones in fuzz/artifacts. An input that is worth keeping goes
//! to tests/fixtures/foreign: `tracer/tests/foreign_bytes.rs` reads these in each test run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::install::NIGHTLY;
use crate::install::needs::Program;
use crate::{process, workspace};

/// More than any input needs, because inputs are read in pieces.
const MEMORY_MIB: u32 = 512;

/// The longest time for one input.
const SECONDS_PER_INPUT: u32 = 10;
/// The kept inputs, in a folder for each target.
const KEPT: &str = "tests/fixtures/foreign";

/// A program of fuzz/fuzz_targets. Its first inputs are the kept ones, and `seeds`.
struct Target {
    name: &'static str,
    seeds: Option<Seeds>,
}

/// The files below a folder with this extension, or their lines.
struct Seeds {
    folder: &'static str,
    extension: &'static str,
    by_line: bool,
}

impl Target {
    const fn new(name: &'static str) -> Self {
        Self { name, seeds: None }
    }

    const fn with_seeds(
        name: &'static str,
        folder: &'static str,
        extension: &'static str,
        by_line: bool,
    ) -> Self {
        Self { name, seeds: Some(Seeds { folder, extension, by_line }) }
    }
}

const TARGETS: &[Target] = &[
    Target::new("cgroup_path"),
    Target::new("container_config"),
    Target::with_seeds("explanation", "tests/fixtures/wire", "jsonl", true),
    Target::new("helper_input"),
    Target::with_seeds("history_segment", "tests/fixtures/wire", "jsonl", false),
    Target::with_seeds("kernel_log", "tests/fixtures/kmsg", "txt", false),
    Target::with_seeds("recording", "tests/fixtures/wire", "rec", false),
    Target::new("wire_record"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this target (may be given several times)
    #[arg(
        long = "target",
        value_parser = PossibleValuesParser::new(TARGETS.iter().map(|it| it.name))
    )]
    targets: Vec<String>,
    /// Run each target for this many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_wanted = |target: &&Target| {
        arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name)
    };
    for target in TARGETS.iter().filter(is_wanted) {
        println!("\n=== {}", target.name);
        let corpus = workspace::root().join("fuzz/corpus").join(target.name);
        fs::create_dir_all(&corpus)?;
        copy_kept(&workspace::root().join(KEPT).join(target.name), &corpus)?;
        if let Some(seeds) = &target.seeds {
            let n_seeds = copy_seeds(seeds, &workspace::root().join(seeds.folder), &corpus)?;
            ensure!(n_seeds > 0, "{} has no .{}", seeds.folder, seeds.extension);
        }
        process::run(&mut fuzz(target, arguments.seconds)?)?;
    }
    Ok(())
}

fn fuzz(target: &Target, seconds: u32) -> Result<Command> {
    process::require(Program::CargoFuzz)?;
    let mut command = process::command(Program::Cargo)?;
    workspace::forget_toolchain(&mut command);
    command
        .current_dir(workspace::root())
        .env("RUSTUP_TOOLCHAIN", NIGHTLY)
        .args(["fuzz", "run", target.name, "--"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SECONDS_PER_INPUT}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    Ok(command)
}

fn copy_kept(from: &Path, corpus: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies the first inputs and returns their number.
fn copy_seeds(seeds: &Seeds, from: &Path, corpus: &Path) -> Result<usize> {
    let mut n_seeds = 0;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_dir() {
            n_seeds += copy_seeds(seeds, &path, corpus)?;
        } else if path.extension().is_some_and(|it| it == seeds.extension) {
            let content = fs::read(&path)?;
            let separator = |byte: &u8| seeds.by_line && *byte == b'\n';
            for seed in content.split(separator).filter(|seed| !seed.is_empty()) {
                n_seeds += 1;
                let relative = path.strip_prefix(workspace::root()).unwrap_or(&path);
                let name = relative.to_string_lossy().replace('/', "-");
                fs::write(corpus.join(format!("{name}-{n_seeds}")), seed)?;
            }
        }
    }
    Ok(n_seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fuzz_program_is_a_target() {
        let folder = workspace::root().join("fuzz/fuzz_targets");
        let mut programs: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        programs.sort();
        let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        targets.sort_unstable();
        assert_eq!(programs, targets);
    }

    #[test]
    fn each_target_has_kept_inputs() {
        for target in TARGETS {
            let folder = workspace::root().join(KEPT).join(target.name);
            assert!(fs::read_dir(folder).unwrap().next().is_some(), "{}", target.name);
        }
    }
}
