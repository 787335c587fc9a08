//! Runs the programs of a scenario.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::scenario::Program;

/// Runs a program, and checks its exit code and output.
pub(crate) fn run(program: &Program) -> Result<()> {
    let Program { argv, code, says } = program;
    let (path, args) = argv.split_first().context("the step names no program")?;
    let output = Command::new(path)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{path} cannot be started"))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    ensure!(
        output.status.code() == Some(*code) && printed.contains(says),
        "{} ended with {}, not {code}, and printed {printed:?}",
        argv.join(" "),
        output.status
    );
    Ok(())
}
