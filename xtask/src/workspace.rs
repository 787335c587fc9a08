//! The directories of the workspace, and how it is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;

use crate::install::GuestStd;
use crate::install::needs::Program;
use crate::process;
use crate::vm::machine_type::MachineType;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A cargo command in the workspace.
pub(crate) fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| Program::Cargo.name().into());
    let mut command = process::start(Path::new(&cargo));
    command.current_dir(root());
    if env::var_os("CI").is_some() {
        // CI builds once, so it needs no data for the next build.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs a command with another toolchain than the one that runs this program.
pub(crate) fn forget_toolchain(command: &mut Command) {
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
}

/// The directory in which cargo builds.
pub(crate) fn target_directory() -> Result<&'static Path> {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(directory) = DIRECTORY.get() {
        return Ok(directory);
    }
    let metadata =
        process::output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let directory =
        metadata["target_directory"].as_str().context("cargo names no target directory")?;
    Ok(DIRECTORY.get_or_init(|| directory.into()))
}

/// The directory of the results of virtual machines.
pub(crate) fn vm_results() -> Result<PathBuf> {
    Ok(target_directory()?.join("vm"))
}

/// The directory of files that outlive `cargo clean`, such as kernels.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => directory.into(),
        None => env::home_dir().context("HOME is not set")?.join(".cache"),
    };
    Ok(base.join("oomwhy"))
}

/// Cargo's profile of release builds.
pub(crate) const RELEASE: &str = "release";
/// Cargo's profile of builds that run only in guests.
pub(crate) const EMULATED: &str = "emulated";

/// Options of rustc with which stacks can be unwound and named.
pub(crate) const TRACEABLE: &[&str] = &["-C", "force-frame-pointers=yes", "-C", "strip=none"];

/// Builds one binary statically, for a guest without libraries, and returns its path.
pub(crate) fn build_for_guest(
    arch: Arch,
    package: &str,
    binary: &str,
    profile: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let MachineType { target, linker, .. } = MachineType::of(arch);
    // RUSTFLAGS would reach the eBPF build as well.
    let variable = |setting: &str| {
        format!("CARGO_TARGET_{}_{setting}", target.to_uppercase().replace('-', "_"))
    };
    let std = GuestStd::find(arch)?.with_context(|| {
        format!("no standard library for {arch} is installed\nhint: cargo xtask setup")
    })?;
    let (mut command, library) = std.cargo()?;
    process::require(Program::BpfLinker)?;
    command
        .args(["rustc", "--profile", profile, "--target", target])
        .args(["--package", package, "--bin", binary])
        .env(variable("RUSTFLAGS"), format!("-C target-feature=+crt-static{library}"));
    if let Some(linker) = linker {
        process::require(*linker)?;
        command.env(variable("LINKER"), linker.name());
    }
    command.arg("--").args(options);
    process::run(&mut command)?;
    Ok(target_directory()?.join(target).join(profile).join(binary))
}
