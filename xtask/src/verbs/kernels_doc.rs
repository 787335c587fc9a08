//! The verb `kernels-doc`: writes the support table of docs/kernels.md from the latest results of
//! `cargo xtask test --boot tiers`.

use anyhow::{Result, ensure};
use oomwhy_tests::support;

use crate::workspace;

pub(crate) fn run() -> Result<()> {
    let updated = support::write(&workspace::vm_results()?)?;
    ensure!(
        !updated.is_empty(),
        "no kernel has results\nhint: cargo xtask test --vm-only --boot tiers"
    );
    println!("docs/kernels.md: {}", updated.join(", "));
    Ok(())
}
