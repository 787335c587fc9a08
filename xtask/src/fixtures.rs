//! The verb `fixtures`: small files out of virtual machines, for tests that need no kernel.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use oomwhy_tests::facts::file;
use oomwhy_tests::matrix::{self, Kernel};
use oomwhy_tests::plan;

use crate::workspace;

/// The scenarios whose recordings and reports are kept.
const KEPT: &[&str] = &[
    "memcg_v2",
    "memcg_v1",
    "nested_limit",
    "trigger_is_not_victim",
    "global",
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this kernel (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let results = workspace::vm_results()?;
    for kernel in matrix::select(&arguments.kernels)? {
        keep(&kernel, &results.join(&kernel.name))?;
    }
    Ok(())
}

fn keep(kernel: &Kernel, results: &Path) -> Result<()> {
    let target = workspace::root()
        .join("tests/fixtures/wire")
        .join(&kernel.name);
    fs::create_dir_all(&target)?;
    for boot in plan::boots(kernel) {
        for scenario in boot
            .scenarios
            .iter()
            .filter(|scenario| KEPT.contains(scenario))
        {
            let source = results.join(boot.name).join(scenario);
            copy(
                &source.join(file::RECORDING),
                &target.join(format!("{scenario}.rec")),
            )?;
            copy(
                &source.join(file::REPORT),
                &target.join(format!("{scenario}.jsonl")),
            )?;
        }
    }
    println!("{}", target.display());
    Ok(())
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    fs::copy(source, target).with_context(|| {
        format!(
            "{} cannot be copied (cargo xtask test makes it)",
            source.display()
        )
    })?;
    Ok(())
}
