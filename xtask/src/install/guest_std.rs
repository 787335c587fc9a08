//! Rust's standard library for a guest's target: rustup's, or, if rustup cannot install it,
//! Debian's, which fits Debian's compiler (the toolchain `bpf`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::matrix::Arch;

use super::needs::Program;
use super::toolchain::EbpfToolchain;
use crate::fetch::suite::Suite;
use crate::vm::machine_type::MachineType;
use crate::{process, workspace};

const COMPILER: &str = "rustc-web";
const PACKAGE: &str = "libstd-rust-web-dev";
const SUITES: [&str; 3] = ["bookworm-security", "trixie", "sid"];

/// The location of a target's standard library.
pub(crate) enum GuestStd {
    /// In the toolchain that builds the workspace.
    Toolchain,
    /// In this directory, for Debian's compiler.
    Debian(PathBuf),
}

impl GuestStd {
    /// The library of an architecture, if this machine has it.
    pub(crate) fn find(arch: Arch) -> Result<Option<Self>> {
        let target = MachineType::of(arch).target;
        let installed = process::output(&mut rustup(&["target", "list", "--installed"])?)?;
        if installed.lines().any(|it| it == target) {
            return Ok(Some(Self::Toolchain));
        }
        let Ok(version) = compiler_version() else { return Ok(None) };
        let directory = directory(arch, &version)?;
        Ok(directory.exists().then_some(Self::Debian(directory)))
    }

    /// A cargo that builds with it, and the options of rustc that it needs.
    pub(crate) fn cargo(&self) -> Result<(Command, String)> {
        Ok(match self {
            Self::Toolchain => (workspace::cargo(), String::new()),
            Self::Debian(directory) => {
                let mut command = rustup(&["run", EbpfToolchain::Linked.name(), "cargo"])?;
                workspace::forget_toolchain(&mut command);
                (command, format!(" -L {}", directory.display()))
            }
        })
    }
}

/// Installs it with rustup.
pub(crate) fn install(arch: Arch) -> Result<()> {
    process::run(&mut rustup(&["target", "add", MachineType::of(arch).target])?)
}

/// Unpacks Debian's package of exactly the version that the compiler has.
pub(crate) fn install_from_debian(arch: Arch) -> Result<()> {
    let version = compiler_version()?;
    let target = directory(arch, &version)?;
    for name in SUITES {
        let scratch = tempfile::tempdir().context("no temporary directory")?;
        let Ok(suite) = Suite::open(name, arch, scratch.path()) else { continue };
        if suite.newest(PACKAGE)?.is_none_or(|(_, found)| found != version) {
            continue;
        }
        let rustlib = suite.unpack(PACKAGE, &version)?.join("usr/lib/rustlib");
        // Renamed when complete, so an interrupted copy leaves no directory with the final name.
        let partial = target.with_extension("part");
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial)?;
        for file in fs::read_dir(rustlib.join(MachineType::of(arch).target).join("lib"))? {
            let file = file?;
            fs::copy(file.path(), partial.join(file.file_name()))?;
        }
        return Ok(fs::rename(&partial, &target)?);
    }
    bail!("no suite of Debian has {PACKAGE} {version} for {arch}")
}

fn compiler_version() -> Result<String> {
    let mut query = process::command(Program::DpkgQuery)?;
    process::output(query.args(["--show", "--showformat=${Version}", COMPILER]))
}

fn directory(arch: Arch, version: &str) -> Result<PathBuf> {
    let target = MachineType::of(arch).target;
    Ok(workspace::cache()?.join("rustlib").join(version).join(target))
}

fn rustup(arguments: &[&str]) -> Result<Command> {
    let mut command = process::command(Program::Rustup)?;
    command.current_dir(workspace::root()).args(arguments);
    Ok(command)
}
