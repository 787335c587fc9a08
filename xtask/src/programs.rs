//! Programs with known functions, compiled for the guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use oomwhy_tests::programs::{PROGRAMS, Program};

use crate::{process, workspace};

/// What the dynamic one needs in the guest: the name that the compiler knows, and where it is looked
/// for.
const LIBRARIES: &[(&str, &str)] = &[
    ("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
    ("ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
];

/// Builds them; each with its name in the guest. Takes a C compiler with a static libc, which the
/// guest's other programs are linked with as well.
pub(crate) fn build() -> Result<Vec<(PathBuf, String)>> {
    let directory = workspace::target_directory()?.join("programs");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let mut built = Vec::new();
    for program in PROGRAMS {
        let target = directory.join(program.name);
        process::run(&mut compiler(program, &target))?;
        built.push((target, format!("/bin/{}", program.name)));
    }
    for (library, target) in LIBRARIES {
        let found = process::output(Command::new("cc").arg(format!("-print-file-name={library}")))?;
        built.push((PathBuf::from(found.trim()), (*target).to_owned()));
    }
    Ok(built)
}

fn compiler(program: &Program, target: &Path) -> Command {
    let source = workspace::root().join("tests/programs").join(program.source);
    let mut command = if Path::new(program.source).extension().is_some_and(|it| it == "rs") {
        let mut command = Command::new("rustc");
        command.arg("--edition=2024");
        command
    } else {
        let mut command = Command::new("cc");
        command.args(["-O2", "-Wall", "-Werror", "-Wl,--build-id"]);
        command
    };
    command.args(program.options).arg("-o").arg(target).arg(source);
    command
}
