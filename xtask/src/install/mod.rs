//! Installs the needs of a verb at its start. Prints each package and tool that it installs, and is
//! quick if nothing is missing.

mod guest_std;
pub(crate) mod needs;
mod toolchain;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use oomwhy_tests::matrix::Arch;

pub(crate) use guest_std::GuestStd;
use needs::{BPF_LINKER, CARGO_FUZZ, Need, Package, Program, Sign, Tool};
pub(crate) use toolchain::{EbpfToolchain, NIGHTLY, TARGET};

use crate::process;

/// Debian's second Rust compiler, which has `core` for the eBPF targets, and its LLVM.
const DEBIAN_RUST: &[Package] = &[
    package("rustc-web"),
    package("cargo-web"),
    package("libstd-rust-web-dev-bpf"),
    package("libllvm22"),
];

/// A package of which only dpkg knows whether it is installed.
const fn package(name: &'static str) -> Package {
    Package { name, sign: Sign::File(&[]) }
}

/// Installs these needs, and allows their programs and no others.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    process::allow(needs);
    install_packages(needs.iter().flat_map(|need| need.packages()))?;
    for need in needs {
        match need {
            Need::Probes => {
                let found = EbpfToolchain::find();
                let toolchain = found.map_or_else(install_toolchain, Ok)?;
                println!("eBPF toolchain: {}", toolchain.name());
                install_tool(&BPF_LINKER)?;
            }
            Need::Arm64Machine => install_arm64_std()?,
            Need::ProbeLints if EbpfToolchain::find() == Some(EbpfToolchain::Linked) => {
                install_packages(&[package("rust-web-clippy")])?;
            }
            Need::Fuzzer => {
                ensure!(
                    EbpfToolchain::find() == Some(EbpfToolchain::Nightly),
                    "fuzzing needs a nightly toolchain\n\
                     hint: rustup toolchain install {NIGHTLY} --component rust-src"
                );
                install_tool(&CARGO_FUZZ)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn install_packages<'a>(packages: impl IntoIterator<Item = &'a Package>) -> Result<()> {
    let mut missing: Vec<&Package> = packages.into_iter().filter(|it| !it.is_installed()).collect();
    missing.sort_by_key(|package| package.name);
    missing.dedup_by_key(|package| package.name);
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    if process::find(Program::AptGet).is_none() {
        bail!(
            "this system has no apt-get, so its packages must be installed by hand\n\
             hint: install what Debian calls {}",
            names.join(", ")
        );
    }
    println!("installing {}", names.join(" "));
    process::run(as_root(Program::AptGet)?.args(["-q", "update"]))?;
    process::run(
        as_root(Program::AptGet)?
            .args(["-q", "install", "--yes", "--no-install-recommends"])
            .args(names)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    for package in missing {
        ensure!(package.is_installed(), "{} is installed, but left no trace", package.name);
    }
    Ok(())
}

impl Package {
    fn is_installed(&self) -> bool {
        match self.sign {
            Sign::Program(program) => process::find(program).is_some(),
            Sign::File([]) => is_known_to_dpkg(self.name),
            Sign::File(files) => files.iter().any(|file| Path::new(file).exists()),
        }
    }
}

fn is_known_to_dpkg(package: &str) -> bool {
    let query = process::command(Program::DpkgQuery);
    let status = query.and_then(|mut query| {
        process::output(query.args(["--show", "--showformat=${db:Status-Status}", package]))
    });
    status.is_ok_and(|status| status == "installed")
}

fn as_root(program: Program) -> Result<Command> {
    let uid = fs::metadata("/proc/self").context("/proc is not mounted")?.uid();
    if uid == 0 {
        return process::command(program);
    }
    let mut command = process::command(Program::Sudo)?;
    command.arg(program.name());
    Ok(command)
}

fn install_toolchain() -> Result<EbpfToolchain> {
    println!("installing an eBPF toolchain: rustup's {NIGHTLY} with rust-src");
    let nightly = process::run(process::command(Program::Rustup)?.args([
        "toolchain",
        "install",
        NIGHTLY,
        "--profile=minimal",
        "--component=rust-src,clippy",
    ]));
    if let Err(error) = nightly {
        println!("rustup cannot install it ({error:#}); installing Debian's rustc-web instead");
        install_debian_rust()?;
    }
    EbpfToolchain::find().with_context(|| {
        format!(
            "no toolchain can build for eBPF\n\
             hint: rustup toolchain install {NIGHTLY} --component rust-src"
        )
    })
}

/// Debian's compiler, as rustup's toolchain `bpf`.
fn install_debian_rust() -> Result<()> {
    install_packages(DEBIAN_RUST)?;
    process::run(process::command(Program::Rustup)?.args(["toolchain", "link", "bpf", "/usr"]))
}

fn install_arm64_std() -> Result<()> {
    if GuestStd::find(Arch::Arm64)?.is_some() {
        return Ok(());
    }
    println!("installing Rust's standard library for arm64");
    let Err(error) = guest_std::install(Arch::Arm64) else { return Ok(()) };
    println!("rustup cannot install it ({error:#}); installing Debian's instead");
    install_debian_rust()?;
    guest_std::install_from_debian(Arch::Arm64)
}

fn install_tool(tool: &Tool) -> Result<()> {
    let name = tool.program.name();
    let installed = process::output(process::command(tool.program)?.arg("--version"));
    // Most tools print their name before the version.
    if installed.is_ok_and(|it| it.split_whitespace().last() == Some(tool.version)) {
        return Ok(());
    }
    println!("installing {name} {}", tool.version);
    let mut cargo = process::command(Program::Cargo)?;
    cargo.args(["install", "--locked", name, "--version", tool.version]);
    // A tool runs for seconds, but takes minutes to build. Without any optimization bpf-linker
    // would take 46 s for an object instead of 15.
    cargo
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    process::run(&mut cargo)
}
