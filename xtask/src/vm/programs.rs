//! Compiles the programs with known functions for the guest.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use oomwhy_tests::programs::{PROGRAMS, Program};

use crate::install::needs;
use crate::{process, workspace};

/// The libraries of the dynamic program: the name for the compiler, and the path in the guest.
const LIBRARIES: &[(&str, &str)] = &[
    ("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
    ("ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
];

const WARNINGS: &[&str] = &["-O2", "-Wall", "-Werror", "-Wl,--build-id"];

/// Builds the compiled programs; each with its path in the guest.
pub(crate) fn build() -> Result<Vec<(PathBuf, String)>> {
    let directory = workspace::target_directory()?.join("programs");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("{} cannot be created", directory.display()))?;
    let mut built = Vec::new();
    for program in PROGRAMS.iter().filter(|program| !program.is_interpreted()) {
        let target = directory.join(program.name);
        process::run(&mut compiler(program, &target)?)
            .with_context(|| format!("{} cannot be compiled", program.source))?;
        built.push((target, format!("/bin/{}", program.name)));
    }
    for (library, target) in LIBRARIES {
        let mut cc = process::command(needs::Program::Cc)?;
        let found = process::output(cc.arg(format!("-print-file-name={library}")))?;
        built.push((PathBuf::from(found.trim()), (*target).to_owned()));
    }
    Ok(built)
}

/// Builds the program that does everyday operations.
pub(crate) fn everyday() -> Result<PathBuf> {
    let target = workspace::target_directory()?.join("everyday");
    let mut compiler = with(needs::Program::Cc, WARNINGS)?;
    compiler.arg("-static").arg("-o").arg(&target);
    process::run(compiler.arg(workspace::root().join("tests/programs/everyday.c")))?;
    Ok(target)
}

/// The path of a program's source.
pub(crate) fn source(program: &Program) -> PathBuf {
    workspace::root().join("tests/programs").join(program.source)
}

fn compiler(program: &Program, target: &Path) -> Result<Command> {
    let source = source(program);
    let mut command = match source.extension().and_then(OsStr::to_str) {
        Some("rs") => with(needs::Program::Rustc, &["--edition=2024"])?,
        Some("go") => {
            let mut command = with(needs::Program::Go, &["build"])?;
            // Links statically, and downloads no other compiler.
            command.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
            command
        }
        Some("cc" | "cpp") => with(needs::Program::Cxx, WARNINGS)?,
        _ => with(needs::Program::Cc, WARNINGS)?,
    };
    command.args(program.options).arg("-o").arg(target).arg(source);
    Ok(command)
}

fn with(compiler: needs::Program, options: &[&str]) -> Result<Command> {
    let mut command = process::command(compiler)?;
    command.args(options);
    Ok(command)
}
