//! The cost of the growth recorder for a program that only faults in pages, compared with other
//! tools that show which code allocates memory.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::{FaultCell, Faults, GROUPS, Observer};

use super::promises::{Cost, Measurement};

const PAGE_BYTES: usize = 4096;

pub(crate) fn render(kernel: &str, release: &str, faults: &Faults) -> Result<String> {
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
        let promise = cost(&cell.observer).map_or_else(
            || "|".to_owned(),
            |cost| Measurement { cost, kernel: kernel.to_owned(), value: ratio }.cells(),
        );
        let _ = writeln!(out, "| {name} | {per_fault:.0} | {ratio:.4} x | {promise} |");
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

/// The costs that have a limit.
pub(crate) fn measurements(kernel: &str, faults: &Faults) -> Result<Vec<Measurement>> {
    let base = per_fault(cell(faults, &Observer::NoneAtEnd)?);
    let observers = [Observer::Far, Observer::FarAmongMany, Observer::Near];
    let with_limits = observers.iter().filter_map(|observer| Some((observer, cost(observer)?)));
    let measure = |(observer, cost)| {
        let value = per_fault(cell(faults, observer)?) / base;
        Ok(Measurement { cost, kernel: kernel.to_owned(), value })
    };
    with_limits.map(measure).collect()
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

const fn cost(observer: &Observer) -> Option<Cost> {
    match observer {
        Observer::Far => Some(Cost::GrowthFar),
        Observer::FarAmongMany => Some(Cost::GrowthFarAmongMany),
        Observer::Near => Some(Cost::GrowthNear),
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
    use super::super::promises::Verdict;
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
    fn ratios_are_measured_and_compared_with_their_limits() {
        let near = |per_fault| {
            let measured = measurements("6.12", &faults(per_fault)).unwrap();
            measured.into_iter().find(|measured| measured.cost == Cost::GrowthNear).unwrap()
        };
        assert_eq!(near(1010).verdict(), Verdict::KeptAgain);
        assert!(matches!(near(1024).verdict(), Verdict::Missed { .. }));
        assert!(matches!(near(1031).verdict(), Verdict::Exceeded { .. }));
        assert_eq!(measurements("6.12", &faults(1024)).unwrap().len(), 3);
        let table = render("6.12", "6.12.9", &faults(1031)).unwrap();
        assert!(table.contains("| 1.0310 x | 1.015 x | **missed** |"), "{table}");
        assert!(table.contains("| 1005 | 1.0050 x | 1.010 x | kept |"), "{table}");
        assert!(table.contains("| others | 3000 | 3.0000 x | | |"), "{table}");
    }
}
