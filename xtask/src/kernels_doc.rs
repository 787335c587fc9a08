//! The verb `kernels-doc`: the support table of docs/kernels.md, from the latest results of
//! `cargo xtask test --boot tiers`.

use anyhow::{Result, ensure};
use oomwhy_tests::support;

use crate::workspace;

pub(crate) fn run() -> Result<()> {
    let made = support::write(&workspace::vm_results()?)?;
    ensure!(!made.is_empty(), "there are no results: cargo xtask test --vm-only --boot tiers");
    println!("docs/kernels.md: {}", made.join(", "));
    Ok(())
}
