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

/// Builds them; each with its name in the guest. Takes compilers of C and C++ with static libraries,
/// as the guest's other programs do.
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
    let language = Path::new(program.source).extension().and_then(|it| it.to_str());
    let mut command = if language == Some("rs") {
        let mut command = Command::new("rustc");
        command.arg("--edition=2024");
        command
    } else {
        let mut command = Command::new(if language == Some("cpp") { "c++" } else { "cc" });
        command.args(["-O2", "-Wall", "-Werror", "-Wl,--build-id"]);
        command
    };
    command.args(program.options).arg("-o").arg(target).arg(source);
    command
}
