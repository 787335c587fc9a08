//! The cost of the growth recorder for a program that only faults in pages, compared with other
//! tools that show where memory goes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::bench::{FaultCell, Faults, GROUPS, Onlooker};

const PAGE_BYTES: usize = 4096;
/// The allowed ratio for a cgroup that is far from its limit.
const FAR: f64 = 1.01;
/// The allowed ratio for a cgroup that is recorded, with stacks.
const NEAR: f64 = 1.03;

pub(crate) fn render(release: &str, faults: &Faults) -> Result<String> {
    let base = per_fault(cell(faults, &Onlooker::Nobody)?);
    let mut out = format!("### Linux {release}\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "| tracer | instructions per fault | as long as without | limit | |");
    let _ = writeln!(out, "|---|--:|--:|--:|---|");
    let _ = writeln!(out, "| none | {base:.0} | | | |");
    let others = faults
        .cells
        .iter()
        .filter(|cell| !matches!(cell.onlooker, Onlooker::Nobody | Onlooker::NobodyYet));
    for cell in others {
        let (per_fault, name) = (per_fault(cell), name(&cell.onlooker));
        let ratio = per_fault / base;
        let promise = limit(&cell.onlooker).map_or_else(
            || "| |".to_owned(),
            |limit| format!("{limit} x | {} |", if ratio <= limit { "kept" } else { "**missed**" }),
        );
        let _ = writeln!(out, "| {name} | {per_fault:.0} | {ratio:.4} x | {promise}");
    }
    let young = per_fault(cell(faults, &Onlooker::NobodyYet)?);
    let [plain, near] = [map_bytes(faults, &Onlooker::Plain)?, map_bytes(faults, &Onlooker::Near)?];
    let _ = writeln!(
        out,
        "\nRight after the boot the same runs took {young:.0} without any tracer, so the base of the\n\
         comparison is measured last. The kernel accounts {:.1} MiB for oomwhy's maps with the recorder\n\
         and {:.1} MiB without.",
        mib(near),
        mib(plain)
    );
    Ok(out)
}

/// Fails if a limit is exceeded.
pub(crate) fn check(release: &str, faults: &Faults) -> Result<()> {
    let base = per_fault(cell(faults, &Onlooker::Nobody)?);
    for onlooker in [Onlooker::Far, Onlooker::FarAmongMany, Onlooker::Near] {
        let ratio = per_fault(cell(faults, &onlooker)?) / base;
        let limit = limit(&onlooker).unwrap_or_default();
        if ratio.is_nan() || ratio > limit {
            bail!("faults on {release}, {}: {ratio:.4} x, the limit is {limit}", name(&onlooker));
        }
    }
    Ok(())
}

fn name(onlooker: &Onlooker) -> String {
    match onlooker {
        Onlooker::NobodyYet | Onlooker::Nobody => "none".to_owned(),
        Onlooker::Plain => "oomwhy".to_owned(),
        Onlooker::Far => "oomwhy --growth, no limit near".to_owned(),
        Onlooker::FarAmongMany => format!("the same among {GROUPS} groups with limits"),
        Onlooker::Near => "oomwhy --growth, recorded, with both stacks".to_owned(),
        Onlooker::Tool(name) => name.clone(),
    }
}

const fn limit(onlooker: &Onlooker) -> Option<f64> {
    match onlooker {
        Onlooker::Far | Onlooker::FarAmongMany => Some(FAR),
        Onlooker::Near => Some(NEAR),
        _ => None,
    }
}

fn cell<'a>(faults: &'a Faults, onlooker: &Onlooker) -> Result<&'a FaultCell> {
    let mut cells = faults.cells.iter();
    cells
        .find(|cell| cell.onlooker == *onlooker)
        .with_context(|| format!("{onlooker:?} was not measured"))
}

fn map_bytes(faults: &Faults, onlooker: &Onlooker) -> Result<u64> {
    cell(faults, onlooker)?.map_bytes.context("the maps were not measured")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The median.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn per_fault(cell: &FaultCell) -> f64 {
    let mut instructions = cell.instructions.clone();
    instructions.sort_unstable();
    let median = instructions.get(instructions.len() / 2).map_or(f64::NAN, |&it| it as f64);
    median / (cell.mib * (1 << 20) / PAGE_BYTES) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(near: u64) -> Faults {
        let pages = 256;
        let cell = |onlooker, per_fault: u64| FaultCell {
            onlooker,
            mib: 1,
            instructions: vec![per_fault * pages, per_fault * pages, 9_999_999],
            map_bytes: Some(1 << 20),
        };
        Faults {
            cells: vec![
                cell(Onlooker::NobodyYet, 8000),
                cell(Onlooker::Plain, 1000),
                cell(Onlooker::Far, 1005),
                cell(Onlooker::Near, near),
                cell(Onlooker::Tool("others".to_owned()), 3000),
                cell(Onlooker::FarAmongMany, 1005),
                cell(Onlooker::Nobody, 1000),
            ],
        }
    }

    #[test]
    fn exceeded_limit_fails_and_is_marked_in_table() {
        assert!(check("6.12", &faults(1029)).is_ok());
        assert!(
            render("6.12", &faults(1029)).unwrap().contains("| 1029 | 1.0290 x | 1.03 x | kept |")
        );
        assert!(check("6.12", &faults(1031)).is_err());
        let table = render("6.12", &faults(1031)).unwrap();
        assert!(table.contains("| 1.0310 x | 1.03 x | **missed** |"), "{table}");
        assert!(table.contains("| others | 3000 | 3.0000 x | | |"), "{table}");
    }
}
