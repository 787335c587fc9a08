//! Which compiler builds the eBPF half. tracer/build.rs decides by the same two signs.

use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// The eBPF target.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The nightly of one day: compilers differ in what the verifier must walk.
pub(crate) const NIGHTLY: &str = "nightly-2026-10-30";

/// A toolchain that can build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EbpfToolchain {
    /// rustup's nightly of a day, with the component rust-src, which builds `core` itself.
    Nightly,
    /// A toolchain linked under the name `bpf`, which brings `core` for the target along.
    Linked,
}

impl EbpfToolchain {
    /// Its rustup name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nightly => NIGHTLY,
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

#[cfg(test)]
mod tests {
    use super::NIGHTLY;

    #[test]
    fn the_build_script_means_the_same_nightly() {
        let build = include_str!("../../tracer/build.rs");
        assert!(build.contains(&format!("const NIGHTLY: &str = \"{NIGHTLY}\";")));
        assert!(build.contains(&format!("rustup toolchain install {NIGHTLY} ")));
    }
}
