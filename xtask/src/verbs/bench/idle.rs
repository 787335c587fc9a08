//! The cost of everyday operations while oomwhy waits for a kill: the table.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::{Idle, IdleCell, IdleTracer, Operation};

use super::costs::to_f64;
use super::promises::{Cost, Measurement, operation_name, tier};
use super::table::number;

/// One operation beside one tracer.
pub(super) struct Row {
    operation: Operation,
    tracer: IdleTracer,
    without: f64,
    with: f64,
    /// Instructions of oomwhy's own threads per operation.
    own: f64,
}

impl Row {
    fn gain_percent(&self) -> f64 {
        100.0 * (self.with / self.without - 1.0)
    }

    fn measurement(&self, kernel: &str) -> Measurement {
        let cost = Cost::Idle(self.operation, self.tracer);
        Measurement { cost, kernel: kernel.to_owned(), value: self.gain_percent() }
    }
}

/// One row per operation and tracer.
pub(super) fn rows(idle: &Idle) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for operation in Operation::ALL {
        for tracer in [IdleTracer::Fentry, IdleTracer::Kprobe] {
            let [without, with] = [IdleTracer::None, tracer].map(|it| cells(idle, operation, it));
            let own: u64 = with.iter().map(|cell| cell.own_instructions).sum();
            let n_runs: usize = with.iter().map(|cell| cell.instructions.len()).sum();
            rows.push(Row {
                operation,
                tracer,
                without: middle(&without)?,
                with: middle(&with)?,
                own: to_f64(own) / to_f64(n_runs as u64),
            });
        }
    }
    Ok(rows)
}

fn cells(idle: &Idle, operation: Operation, tracer: IdleTracer) -> Vec<&IdleCell> {
    let of_row = |cell: &&IdleCell| cell.operation == operation && cell.tracer == tracer;
    idle.cells.iter().filter(of_row).collect()
}

/// The mean of the middle half of all runs. The upper quarter has those that an interrupt hit; a
/// median alone jumps if runs fall into a few groups.
fn middle(cells: &[&IdleCell]) -> Result<f64> {
    let mut runs: Vec<u64> = cells.iter().flat_map(|cell| cell.instructions.clone()).collect();
    runs.sort_unstable();
    let half = &runs[runs.len() / 4..runs.len() - runs.len() / 4];
    let n_runs = u64::try_from(half.len()).ok().filter(|&count| count > 0);
    let sum: u64 = half.iter().sum();
    Ok(to_f64(sum) / to_f64(n_runs.context("an operation was not measured")?))
}

/// The costs that have a limit.
pub(super) fn measurements(kernel: &str, rows: &[Row]) -> Vec<Measurement> {
    let others = rows.iter().filter(|row| row.operation != Operation::Cgroup);
    let own_work = others.map(|row| row.own).fold(f64::NAN, f64::max);
    let own_work = Measurement { cost: Cost::OwnWork, kernel: kernel.to_owned(), value: own_work };
    rows.iter().map(|row| row.measurement(kernel)).chain([own_work]).collect()
}

pub(super) fn render(kernel: &str, release: &str, rows: &[Row]) -> String {
    let mut out = format!("### Linux {release}\n\n");
    // Writing to a string cannot fail.
    let _ = table(&mut out, kernel, rows);
    out
}

fn table(out: &mut String, kernel: &str, rows: &[Row]) -> std::fmt::Result {
    writeln!(out, "| operation | tier | without oomwhy | oomwhy adds | | limit | |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|---|")?;
    for row in rows {
        let measured = row.measurement(kernel);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            operation_name(row.operation),
            tier(row.tracer),
            number(row.without.round()),
            number((row.with - row.without).round()),
            measured.text(),
            measured.cells(),
        )?;
    }
    let own: Vec<String> = rows
        .iter()
        .filter(|row| row.operation == Operation::Cgroup)
        .map(|row| format!("{} in tier {}", number(row.own.round()), tier(row.tracer)))
        .collect();
    writeln!(
        out,
        "\nFor each new cgroup oomwhy's own threads take this many instructions, on any CPU that \
         is\nfree: {}.",
        own.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::promises::Verdict;
    use super::*;

    fn idle(with: u64, own: u64) -> Idle {
        let tracers = [IdleTracer::None, IdleTracer::Fentry, IdleTracer::Kprobe];
        let cells = Operation::ALL.iter().flat_map(|&operation| {
            tracers.map(|tracer| {
                let usual = if tracer == IdleTracer::None { 10_000 } else { with };
                let interrupted = 90_000;
                let instructions = vec![usual, interrupted, usual, usual];
                let own_instructions = if operation == Operation::Cgroup { 400 } else { own };
                IdleCell { operation, tracer, instructions, own_instructions }
            })
        });
        Idle { cells: cells.collect() }
    }

    fn measured(rows: &[Row], cost: Cost) -> Measurement {
        measurements("6.12", rows).into_iter().find(|measured| measured.cost == cost).unwrap()
    }

    #[test]
    fn gain_is_measured_and_compared_with_its_limit() {
        let kept = rows(&idle(10_010, 0)).unwrap();
        let table = render("6.12", "6.12.9", &kept);
        let row =
            "| a thread created and joined | kprobe | 10,000 | 10 | +0.10 % | +0.30 % | kept |";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("100 in tier fentry"), "{table}");
        let thread = Cost::Idle(Operation::Thread, IdleTracer::Kprobe);
        assert_eq!(measured(&kept, thread).verdict(), Verdict::Kept);
        let missed = rows(&idle(10_250, 0)).unwrap();
        assert_eq!(measured(&missed, thread).verdict(), Verdict::Exceeded { allowed: 0.3 });
        // That this one is missed is known, and by how much at most.
        let signal = Cost::Idle(Operation::Signal, IdleTracer::Fentry);
        assert!(matches!(measured(&missed, signal).verdict(), Verdict::Missed { .. }));
        let table = render("6.12", "6.12.9", &missed);
        assert!(table.contains("| +2.50 % | +0.30 % | **missed** |"), "{table}");
        assert!(table.contains("| +2.50 % | +2.00 % | missed, at most"), "{table}");
    }

    #[test]
    fn work_of_an_idle_oomwhy_is_measured_except_for_new_cgroups() {
        let asleep = measured(&rows(&idle(10_000, 0)).unwrap(), Cost::OwnWork);
        assert_eq!(asleep.verdict(), Verdict::Kept);
        let awake = measured(&rows(&idle(10_000, 1)).unwrap(), Cost::OwnWork);
        assert_eq!(awake.verdict(), Verdict::Exceeded { allowed: 0.0 });
    }

    #[test]
    fn operation_without_runs_is_an_error() {
        assert!(rows(&Idle { cells: Vec::new() }).is_err());
    }
}
