//! Where things are, and how the workspace is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use crate::process;

/// The target that the virtual machines run.
pub(crate) const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

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
fn target_directory() -> Result<&'static Path> {
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
pub(crate) fn build_for_guest(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["rustc", "--release", "--target", GUEST_TARGET])
        .args(["--package", package, "--bin", binary])
        // Not RUSTFLAGS, which would reach the eBPF build as well.
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        .arg("--")
        .args(options);
    process::run(&mut command)?;
    Ok(target_directory()?.join(GUEST_TARGET).join("release").join(binary))
}
