//! Starts other programs, with errors that name the command. No other module starts one. A program
//! that the set-up of the running verb does not install is refused. So no verb can work on a
//! developer's machine and fail on a fresh one.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

use crate::install::needs::{Need, Program};

static ALLOWED: Mutex<BTreeSet<Need>> = Mutex::new(BTreeSet::new());

/// From now on, only the programs that these needs provide may be started.
pub(crate) fn allow(needs: &[Need]) {
    *ALLOWED.lock().unwrap_or_else(PoisonError::into_inner) = needs.iter().copied().collect();
}

/// Fails if the set-up of the running verb does not install this program. Call it for a program
/// that another one starts, such as a linker.
pub(crate) fn require(program: Program) -> Result<()> {
    let need = program.need();
    let allowed = ALLOWED.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        need == Need::System || allowed.contains(&need),
        "{} is refused: the set-up of this verb does not install it\n\
         hint: list Need::{need:?} for the verb in xtask/src/install/needs.rs",
        program.name()
    );
    Ok(())
}

/// The command that starts a program, without arguments.
pub(crate) fn command(program: Program) -> Result<Command> {
    require(program)?;
    Ok(start(Path::new(program.name())))
}

/// The command that starts a program that this workspace built, or the cargo that runs xtask.
#[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
pub(crate) fn start(path: &Path) -> Command {
    Command::new(path)
}

/// Where the PATH has a program.
pub(crate) fn find(program: Program) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|it| it.join(program.name())).find(|it| it.is_file())
}

/// Runs a program that writes to the terminal itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("{} cannot be started", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a program and returns the text that it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    String::from_utf8(output_bytes(command)?)
        .with_context(|| format!("{} printed text that is not UTF-8", shown(command)))
}

/// Runs a program and returns the bytes that it prints.
pub(crate) fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output =
        command.output().with_context(|| format!("{} cannot be started", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}):\n{}", shown(command), output.status, stderr.trim_end());
    }
    Ok(output.stdout)
}

/// Runs a program whose failure is an answer, not an error.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The command as a user would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            let word = word.to_string_lossy();
            if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_of_a_need_that_is_not_listed_is_refused() {
        allow(&[Need::Amd64Machine]);
        assert!(command(Program::QemuX86).is_ok());
        assert!(command(Program::Cargo).is_ok());
        let error = command(Program::QemuArm).unwrap_err().to_string();
        assert!(error.contains("list Need::Arm64Machine for the verb"), "{error}");
        assert!(require(Program::Arm64Cc).is_err());
    }
}
