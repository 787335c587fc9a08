//! Which compiler builds the eBPF half. tracer/build.rs decides by the same two signs.

use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// The eBPF target.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A toolchain that can build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EbpfToolchain {
    /// rustup's nightly with the component rust-src, which builds `core` itself.
    Nightly,
    /// A toolchain linked under the name `bpf`, which brings `core` for the target along.
    Linked,
}

impl EbpfToolchain {
    /// Its rustup name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Linked => "bpf",
        }
    }

    /// What cargo needs to be told.
    pub(crate) const fn build_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nightly => &["-Zbuild-std=core"],
            Self::Linked => &[],
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Nightly => "lib/rustlib/src/rust/library/core",
            Self::Linked => "lib/rustlib/bpfel-unknown-none",
        }
    }

    fn is_usable(self) -> bool {
        let rustc = process::output(Command::new("rustup").args([
            "which",
            "rustc",
            "--toolchain",
            self.name(),
        ]));
        let Ok(rustc) = rustc else { return false };
        let rustc = PathBuf::from(rustc.trim_end());
        rustc.ancestors().nth(2).is_some_and(|sysroot| sysroot.join(self.sign()).exists())
    }

    /// The first one that this machine has.
    pub(crate) fn find() -> Option<Self> {
        [Self::Nightly, Self::Linked].into_iter().find(|toolchain| toolchain.is_usable())
    }
}
