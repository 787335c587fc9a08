//! Programs that a scenario runs besides.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::scenario::Program;

/// Runs one; it must end as the scenario says.
pub(crate) fn run(program: &Program) -> Result<()> {
    let Program { argv, code, says } = program;
    let (path, args) = argv.split_first().context("the step names no program")?;
    let output = Command::new(path)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{path} cannot be started"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        output.status.code() == Some(*code) && said.contains(says),
        "{} ended with {}, not {code}, and said {said:?}",
        argv.join(" "),
        output.status
    );
    Ok(())
}
