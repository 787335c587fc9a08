//! Chooses the compiler of the eBPF half. tracer/build.rs looks at the same two signs.

use std::path::PathBuf;

use super::needs::Program;
use crate::process;

/// The eBPF target.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// One dated nightly: compilers differ in how many instructions the kernel's verifier must walk.
pub(crate) const NIGHTLY: &str = "nightly-2026-10-30";

/// A toolchain that can build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EbpfToolchain {
    /// rustup's dated nightly with the component rust-src, from which it builds `core` itself.
    Nightly,
    /// A toolchain linked under the name `bpf`, which has `core` for the target.
    Linked,
}

impl EbpfToolchain {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nightly => NIGHTLY,
            Self::Linked => "bpf",
        }
    }

    /// The options of cargo that it needs.
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
        let which = process::command(Program::Rustup).and_then(|mut rustup| {
            process::output(rustup.args(["which", "rustc", "--toolchain", self.name()]))
        });
        let Ok(which) = which else { return false };
        let rustc = PathBuf::from(which.trim_end());
        rustc.ancestors().nth(2).is_some_and(|sysroot| sysroot.join(self.sign()).exists())
    }

    /// The first toolchain that this machine has.
    pub(crate) fn find() -> Option<Self> {
        [Self::Nightly, Self::Linked].into_iter().find(|toolchain| toolchain.is_usable())
    }
}

#[cfg(test)]
mod tests {
    use super::NIGHTLY;

    #[test]
    fn nightly_of_build_script_is_the_same() {
        let build = include_str!("../../../tracer/build.rs");
        assert!(build.contains(&format!("const NIGHTLY: &str = \"{NIGHTLY}\";")));
        assert!(build.contains(&format!("rustup toolchain install {NIGHTLY} ")));
    }
}
