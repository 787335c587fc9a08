//! What the growth recorder costs a program that does nothing but fault in pages.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::bench::{FaultCell, Faults};

/// Bytes of a page.
const PAGE: usize = 4096;
/// What a group far from its limit may take longer.
const FAR: f64 = 1.01;
/// And one that is recorded, with stacks.
const NEAR: f64 = 1.03;

/// A table and whether the promises are kept.
pub(crate) fn render(release: &str, faults: &Faults) -> Result<String> {
    let (base, others) = faults.cells.split_last().context("nothing was measured")?;
    let base_per_fault = per_fault(base);
    let mut out = format!("### Linux {release}: the growth recorder\n\n");
    // Writing to a string cannot fail.
    let _ =
        writeln!(out, "| recorder | instructions per fault | as long as without |\n|---|--:|--:|");
    let _ = writeln!(out, "| {} | {base_per_fault:.0} | |", base.recorder);
    for cell in others {
        let per_fault = per_fault(cell);
        let ratio = per_fault / base_per_fault;
        let _ = writeln!(out, "| {} | {per_fault:.0} | {ratio:.4} x |", cell.recorder);
    }
    Ok(out)
}

/// Fails with what is exceeded.
pub(crate) fn check(release: &str, faults: &Faults) -> Result<()> {
    let [_, far, near, base] = faults.cells.as_slice() else {
        bail!("{} ways were measured, not four", faults.cells.len());
    };
    for (cell, limit) in [(far, FAR), (near, NEAR)] {
        let ratio = per_fault(cell) / per_fault(base);
        if ratio.is_nan() || ratio > limit {
            bail!("faults on {release}, {}: {ratio:.4} x, the limit is {limit}", cell.recorder);
        }
    }
    Ok(())
}

/// Median.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn per_fault(cell: &FaultCell) -> f64 {
    let mut instructions = cell.instructions.clone();
    instructions.sort_unstable();
    let median = instructions.get(instructions.len() / 2).map_or(f64::NAN, |&it| it as f64);
    median / (cell.mib * (1 << 20) / PAGE) as f64
}
