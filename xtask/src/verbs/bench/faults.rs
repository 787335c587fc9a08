//! The cost of the growth recorder for a program that only faults in pages, compared with other
//! tools that show which code allocates memory.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::bench::{FaultCell, Faults, GROUPS, Observer};

const PAGE_BYTES: usize = 4096;
/// The allowed ratio for a cgroup that is far from its limit.
const FAR: f64 = 1.01;
/// The allowed ratio for a cgroup that is recorded, with stacks.
const NEAR: f64 = 1.03;

pub(crate) fn render(release: &str, faults: &Faults) -> Result<String> {
    let base = per_fault(cell(faults, &Observer::NoneAtEnd)?);
    let mut out = format!("### Linux {release}\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "| tracer | instructions per fault | as long as without | limit | |");
    let _ = writeln!(out, "|---|--:|--:|--:|---|");
    let _ = writeln!(out, "| none | {base:.0} | | | |");
    let others = faults
        .cells
        .iter()
        .filter(|cell| !matches!(cell.observer, Observer::NoneAtEnd | Observer::NoneAfterBoot));
    for cell in others {
        let (per_fault, name) = (per_fault(cell), name(&cell.observer));
        let ratio = per_fault / base;
        let promise = limit(&cell.observer).map_or_else(
            || "| |".to_owned(),
            |limit| format!("{limit} x | {} |", if ratio <= limit { "kept" } else { "**missed**" }),
        );
        let _ = writeln!(out, "| {name} | {per_fault:.0} | {ratio:.4} x | {promise}");
    }
    let young = per_fault(cell(faults, &Observer::NoneAfterBoot)?);
    let [plain, near] = [map_bytes(faults, &Observer::Plain)?, map_bytes(faults, &Observer::Near)?];
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
    let base = per_fault(cell(faults, &Observer::NoneAtEnd)?);
    for observer in [Observer::Far, Observer::FarAmongMany, Observer::Near] {
        let ratio = per_fault(cell(faults, &observer)?) / base;
        let limit = limit(&observer).unwrap_or_default();
        if ratio.is_nan() || ratio > limit {
            bail!("faults on {release}, {}: {ratio:.4} x, the limit is {limit}", name(&observer));
        }
    }
    Ok(())
}

fn name(observer: &Observer) -> String {
    match observer {
        Observer::NoneAfterBoot | Observer::NoneAtEnd => "none".to_owned(),
        Observer::Plain => "oomwhy".to_owned(),
        Observer::Far => "oomwhy --growth, no limit near".to_owned(),
        Observer::FarAmongMany => format!("the same among {GROUPS} groups with limits"),
        Observer::Near => "oomwhy --growth, recorded, with both stacks".to_owned(),
        Observer::Tool(name) => name.clone(),
    }
}

const fn limit(observer: &Observer) -> Option<f64> {
    match observer {
        Observer::Far | Observer::FarAmongMany => Some(FAR),
        Observer::Near => Some(NEAR),
        _ => None,
    }
}

fn cell<'a>(faults: &'a Faults, observer: &Observer) -> Result<&'a FaultCell> {
    let mut cells = faults.cells.iter();
    cells
        .find(|cell| cell.observer == *observer)
        .with_context(|| format!("{observer:?} was not measured"))
}

fn map_bytes(faults: &Faults, observer: &Observer) -> Result<u64> {
    cell(faults, observer)?.map_bytes.context("the maps were not measured")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The median of the runs, instructions.
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
        let cell = |observer, per_fault: u64| FaultCell {
            observer,
            mib: 1,
            instructions: vec![per_fault * pages, per_fault * pages, 9_999_999],
            map_bytes: Some(1 << 20),
        };
        Faults {
            cells: vec![
                cell(Observer::NoneAfterBoot, 8000),
                cell(Observer::Plain, 1000),
                cell(Observer::Far, 1005),
                cell(Observer::Near, near),
                cell(Observer::Tool("others".to_owned()), 3000),
                cell(Observer::FarAmongMany, 1005),
                cell(Observer::NoneAtEnd, 1000),
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
