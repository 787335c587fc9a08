//! Programs that a scenario runs besides.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::scenario::Run;

/// Runs one; it must end as the scenario says.
pub(crate) fn run(run: &Run) -> Result<()> {
    let (program, args) = run.argv.split_first().context("the step names no command")?;
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        output.status.code() == Some(run.code) && said.contains(run.says),
        "{} ended with {}, not {}, and said {said:?}",
        run.argv.join(" "),
        output.status,
        run.code
    );
    Ok(())
}
