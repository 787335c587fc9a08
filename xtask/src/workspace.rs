//! Where things are, and how the workspace is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;

use crate::guest_std::GuestStd;
use crate::machine_type::MachineType;
use crate::process;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A cargo command in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
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

/// Where the virtual machines leave their results.
pub(crate) fn vm_results() -> Result<PathBuf> {
    Ok(target_directory()?.join("vm"))
}

/// What outlives `cargo clean`: the kernels.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => directory.into(),
        None => env::home_dir().context("HOME is not set")?.join(".cache"),
    };
    Ok(base.join("oomwhy"))
}

/// So that the workload's stacks can be unwound and named.
pub(crate) const TRACEABLE: &[&str] = &["-C", "force-frame-pointers=yes", "-C", "strip=none"];

/// Builds one binary statically, for a guest without libraries, with these options of the compiler
/// besides, and returns its path.
pub(crate) fn build_for_guest(
    arch: Arch,
    package: &str,
    binary: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let MachineType { target, profile, linker, .. } = MachineType::of(arch);
    // Not RUSTFLAGS, which would reach the eBPF build as well.
    let variable = |setting: &str| {
        format!("CARGO_TARGET_{}_{setting}", target.to_uppercase().replace('-', "_"))
    };
    let std = GuestStd::find(arch)?
        .with_context(|| format!("nothing here builds for {arch} (cargo xtask setup)"))?;
    let (mut command, place) = std.cargo();
    command
        .args(["rustc", "--profile", profile, "--target", target])
        .args(["--package", package, "--bin", binary])
        .env(variable("RUSTFLAGS"), format!("-C target-feature=+crt-static{place}"));
    if let Some(linker) = linker {
        command.env(variable("LINKER"), linker);
    }
    command.arg("--").args(options);
    process::run(&mut command)?;
    Ok(target_directory()?.join(target).join(profile).join(binary))
}
