//! Builds the eBPF programs (`tracer-ebpf`) into `OUT_DIR/oomwhy`, with whichever toolchain this
//! machine has: rustup's nightly with rust-src, or one with a prebuilt `core` for BPF.

use std::{path::Path, process::Command};

use aya_build::{Package, Toolchain};

/// What to do when neither is there.
const HINT: &str = "\
no toolchain here can compile for BPF. Either of these makes one:
  rustup toolchain install nightly --component rust-src
  apt-get install -y --no-install-recommends rustc-web cargo-web libstd-rust-web-dev-bpf \
libllvm22 && rustup toolchain link bpf /usr
and the linker, for both:
  cargo install bpf-linker --version 0.10.4 --locked
(`cargo xtask setup` does all of it on Debian and Ubuntu)";

fn main() -> anyhow::Result<()> {
    let log = std::env::var_os("CARGO_FEATURE_PROBE_LOG").is_some();
    let package = Package {
        name: "oomwhy-ebpf",
        root_dir: "../tracer-ebpf",
        features: if log { &["log"] } else { &[] },
        ..Package::default()
    };
    println!("cargo:rerun-if-changed=../tracer-common");
    let linker = Command::new("bpf-linker").arg("--version").output();
    anyhow::ensure!(linker.is_ok_and(|output| output.status.success()), HINT);
    if has("nightly", "src/rust/library/core/Cargo.toml") {
        return aya_build::build_ebpf([package], Toolchain::Nightly);
    }
    anyhow::ensure!(has("bpf", "bpfel-unknown-none/lib"), HINT);
    aya_build::build_ebpf([package], Toolchain::Custom("bpf"))
}

/// Whether rustup's `toolchain` has `path` below its rustlib folder.
fn has(toolchain: &str, path: &str) -> bool {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .output();
    let Ok(output) = output else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    let path = if path.starts_with("src") {
        rustlib.join(path.trim_start_matches('/'))
    } else {
        rustlib.join(path)
    };
    output.status.success() && path.exists()
}
