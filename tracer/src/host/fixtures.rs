//! The reduced BTF of real kernels, for tests: `cargo xtask fixtures` makes them.

use std::{fs, path::PathBuf};

use super::btf::KernelBtf;

/// One kernel of each series that is supported.
pub(crate) const SERIES: [&str; 6] = ["5.10-pid", "5.10", "6.1", "6.12", "6.18", "7.3"];

/// Where a series' BTF is.
pub(crate) fn path(series: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/btf");
    PathBuf::from(folder).join(format!("{series}.btf"))
}

/// The BTF of a series.
pub(crate) fn btf(series: &str) -> KernelBtf {
    KernelBtf::from_bytes(&fs::read(path(series)).expect("a fixture")).expect("valid BTF")
}
