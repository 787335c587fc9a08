//! Programs with known functions, compiled for the guest.

use std::ffi::OsStr;
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

const WARNINGS: &[&str] = &["-O2", "-Wall", "-Werror", "-Wl,--build-id"];

/// Builds those that a compiler makes; each with its name in the guest. Takes compilers of C (with a static libc, which
/// the guest's other programs are linked with as well), C++ and Go.
pub(crate) fn build() -> Result<Vec<(PathBuf, String)>> {
    let directory = workspace::target_directory()?.join("programs");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let mut built = Vec::new();
    for program in PROGRAMS.iter().filter(|program| !program.is_interpreted()) {
        let target = directory.join(program.name);
        process::run(&mut compiler(program, &target)).with_context(|| {
            format!("{} cannot be compiled (cargo xtask setup)", program.source)
        })?;
        built.push((target, format!("/bin/{}", program.name)));
    }
    for (library, target) in LIBRARIES {
        let found = process::output(Command::new("cc").arg(format!("-print-file-name={library}")))?;
        built.push((PathBuf::from(found.trim()), (*target).to_owned()));
    }
    Ok(built)
}

/// The source of a program.
pub(crate) fn source(program: &Program) -> PathBuf {
    workspace::root().join("tests/programs").join(program.source)
}

fn compiler(program: &Program, target: &Path) -> Command {
    let source = source(program);
    let mut command = match source.extension().and_then(OsStr::to_str) {
        Some("rs") => with("rustc", &["--edition=2024"]),
        Some("go") => {
            let mut command = with("go", &["build"]);
            // Static; and no compiler but the one that is here.
            command.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
            command
        }
        Some("cc" | "cpp") => with("c++", WARNINGS),
        _ => with("cc", WARNINGS),
    };
    command.args(program.options).arg("-o").arg(target).arg(source);
    command
}

fn with(compiler: &str, options: &[&str]) -> Command {
    let mut command = Command::new(compiler);
    command.args(options);
    command
}
