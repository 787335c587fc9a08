//! The verb `setup`: installs what is missing, says what it does, and is quick when nothing is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use oomwhy_tests::matrix::Arch;

use crate::guest_std::{self, GuestStd};
use crate::toolchain::{EbpfToolchain, NIGHTLY};
use crate::{process, python};

/// From 0.11 on it wants a system LLVM; 0.10 uses the one of the compiler.
const BPF_LINKER: Tool = Tool { name: "bpf-linker", version: "0.10.4" };
const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };
const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
const CARGO_MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// What building and the virtual machines need, by Debian's names. C++ and Go are those of programs
/// whose stacks are tested.
const PACKAGES: &[&str] =
    &["gcc", "g++", "golang-go", "libc6-dev", "dpkg", "qemu-system-x86", "debian-archive-keyring"];
/// What the arm64 machines need besides.
const ARM64_PACKAGES: &[&str] =
    &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm"];
/// Debian's second Rust compiler, which has `core` for the eBPF targets, and its LLVM.
const TOOLCHAIN_PACKAGES: &[&str] =
    &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "libllvm22"];

struct Tool {
    name: &'static str,
    version: &'static str,
}

pub(crate) fn run() -> Result<()> {
    base()?;
    println!("Python for the guests: {}", python::cached()?.display());
    arm64()
}

/// What building and this machine's own architecture need.
pub(crate) fn base() -> Result<()> {
    install_packages(PACKAGES)?;
    let toolchain = match EbpfToolchain::find() {
        Some(toolchain) => toolchain,
        None => install_toolchain()?,
    };
    println!("eBPF toolchain: {}", toolchain.name());
    install_tool(&BPF_LINKER)
}

/// What the guests of the other architecture need.
fn arm64() -> Result<()> {
    install_packages(ARM64_PACKAGES)?;
    if GuestStd::find(Arch::Arm64)?.is_some() {
        return Ok(());
    }
    println!("installing Rust's standard library for arm64");
    let Err(error) = guest_std::install(Arch::Arm64) else { return Ok(()) };
    println!("that cannot be had ({error:#}); Debian's instead");
    install_linked()?;
    guest_std::install_from_debian(Arch::Arm64)
}

/// What only `ci` needs.
pub(crate) fn for_ci() -> Result<()> {
    run()?;
    if EbpfToolchain::find() == Some(EbpfToolchain::Linked) && has_apt() {
        install_packages(&["rust-web-clippy"])?;
    }
    install_tool(&CARGO_DENY)?;
    install_tool(&CARGO_MACHETE)
}

/// What only `fuzz` needs: the sanitizers are the nightly's.
pub(crate) fn for_fuzz() -> Result<()> {
    base()?;
    ensure!(
        EbpfToolchain::find() == Some(EbpfToolchain::Nightly),
        "fuzzing takes a nightly: rustup toolchain install {NIGHTLY} --component rust-src"
    );
    install_tool(&CARGO_FUZZ)
}

pub(crate) fn install_packages(names: &[&str]) -> Result<()> {
    if !has_apt() {
        return needs_by_hand();
    }
    let missing: Vec<&str> = names.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    process::run(as_root("apt-get")?.args(["-q", "update"]))?;
    process::run(
        as_root("apt-get")?
            .args(["-q", "install", "--yes", "--no-install-recommends"])
            .args(missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

pub(crate) fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// Another system: nothing is installed there, but what is in place is good enough.
fn needs_by_hand() -> Result<()> {
    let missing: Vec<&str> = ["gcc", "g++", "qemu-system-x86_64", "dpkg", "apt-get"]
        .into_iter()
        .filter(|program| !process::succeeds(Command::new(program).arg("--version")))
        .collect();
    if missing.is_empty() && EbpfToolchain::find().is_some() {
        return Ok(());
    }
    bail!(
        "this system has no apt-get, so install by hand: {}; and the eBPF toolchain: \
         rustup toolchain install {NIGHTLY} --component rust-src",
        missing.join(", ")
    )
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output();
    status.is_ok_and(|output| output.stdout == b"installed")
}

fn as_root(program: &str) -> Result<Command> {
    let uid = fs::metadata("/proc/self").context("/proc is not mounted")?.uid();
    if uid == 0 {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

fn install_toolchain() -> Result<EbpfToolchain> {
    println!("installing an eBPF toolchain: rustup's {NIGHTLY} with rust-src");
    let nightly = process::run(Command::new("rustup").args([
        "toolchain",
        "install",
        NIGHTLY,
        "--profile=minimal",
        "--component=rust-src,clippy",
    ]));
    if let Err(error) = nightly {
        println!("that cannot be had ({error:#}); Debian's rustc-web instead");
        install_linked()?;
    }
    EbpfToolchain::find().with_context(|| {
        format!(
            "no toolchain can build for eBPF: rustup toolchain install {NIGHTLY} --component rust-src"
        )
    })
}

/// Debian's compiler, as rustup's toolchain `bpf`.
fn install_linked() -> Result<()> {
    install_packages(TOOLCHAIN_PACKAGES)?;
    process::run(Command::new("rustup").args(["toolchain", "link", "bpf", "/usr"]))
}

fn install_tool(tool: &Tool) -> Result<()> {
    let Tool { name, version } = tool;
    let installed = process::output(Command::new(name).arg("--version")).unwrap_or_default();
    // Most tools print their name before the version.
    if installed.split_whitespace().last() == Some(version) {
        return Ok(());
    }
    println!("installing {name} {version}");
    process::run(Command::new("cargo").args(["install", "--locked", name, "--version", version]))
}
