//! Computes costs from measurements: medians, differences, slopes.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::bench::{Cell, Counts, Measured, Printed, Program, Run, Storm, StormTracer};

use super::Figures;
use super::peers::{OOMKILL, OOMWHY};
use super::promises::{Cost, Measurement};

pub(crate) struct Costs {
    /// The kernel's name in tests/kernels.toml.
    pub(crate) kernel: String,
    pub(crate) release: String,
    pub(crate) candidate: Candidate,
    /// Instructions added to an invocation, without candidates: those with the victim alone, minus
    /// one candidate.
    pub(crate) per_invocation: f64,
    /// One row per number of candidates and setting. If the kernel prints its report, its stack
    /// has our trampolines.
    pub(crate) rows: Vec<Row>,
    pub(crate) programs: Vec<Program>,
    pub(crate) storms: Vec<Storm>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) kmsg: Latency,
    pub(crate) binary_bytes: u64,
}

/// Instructions per candidate.
pub(crate) struct Candidate {
    /// The kernel alone, with nothing printed.
    pub(crate) bare: f64,
    /// The kernel alone, with the table of tasks, its default.
    pub(crate) dumped: f64,
    /// Added by oomwhy, from no other candidate to the largest number, so including those that find
    /// a free slot in the list.
    pub(crate) added: f64,
    /// Added by oomwhy to each candidate when the list is full.
    pub(crate) added_in_crowd: f64,
}

/// An invocation with and without oomwhy.
pub(crate) struct Row {
    pub(crate) candidates: usize,
    pub(crate) printed: Printed,
    pub(crate) without: Median,
    pub(crate) with: Median,
}

impl Row {
    pub(crate) fn added(&self) -> f64 {
        self.with.total - self.without.total
    }
}

/// Medians of several runs.
#[derive(Clone, Copy)]
pub(crate) struct Median {
    pub(crate) to_mark: f64,
    pub(crate) total: f64,
    /// Largest less smallest of `total`.
    pub(crate) spread: f64,
}

/// The costs of a tool.
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) start_ns: f64,
    pub(crate) latency: Latency,
    pub(crate) measured: Measured,
}

/// The time from a kill to its line of output.
pub(crate) struct Latency {
    pub(crate) n: usize,
    pub(crate) p50_ns: f64,
    pub(crate) p99_ns: f64,
}

impl Costs {
    pub(crate) fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The kill rate of a storm, relative to the rate without oomwhy, of medians; NaN if it was not
    /// measured.
    pub(crate) fn storm_ratio(&self, tracer: StormTracer) -> f64 {
        let instructions = |tracer| {
            let storms = self.storms.iter().filter(|storm| storm.tracer == tracer);
            let mut sorted: Vec<u64> = storms.map(|storm| storm.instructions).collect();
            sorted.sort_unstable();
            percentile(&sorted, 50)
        };
        instructions(StormTracer::None) / instructions(tracer)
    }

    /// The duration of an invocation with default settings, relative to the duration without
    /// oomwhy: the worst of these numbers of candidates.
    pub(crate) fn default_ratio(&self, candidates: RangeInclusive<usize>) -> f64 {
        let is_default =
            |row: &&Row| row.printed == Printed::Tasks && candidates.contains(&row.candidates);
        let rows = self.rows.iter().filter(is_default);
        rows.map(|row| row.with.total / row.without.total).fold(f64::NAN, f64::max)
    }

    /// The start time of oomwhy relative to oomkill's; NaN if one of them was not measured.
    pub(crate) fn start_ratio(&self) -> f64 {
        let start = |name| self.tool(name).map_or(f64::NAN, |tool| tool.start_ns);
        start(OOMWHY) / start(OOMKILL)
    }

    /// The costs that have a limit.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let candidate = self.candidate.added.max(self.candidate.added_in_crowd);
        let mut values = vec![
            (Cost::Candidate, candidate),
            (Cost::Invocation, self.per_invocation),
            (Cost::OneCandidate, self.default_ratio(1..=1)),
            (Cost::Crowd, self.default_ratio(1000..=usize::MAX)),
            (Cost::Storm, self.storm_ratio(StormTracer::Elsewhere).recip()),
            (Cost::Start, self.start_ratio()),
            (Cost::Binary, millions(self.binary_bytes)),
        ];
        if let Some(oomwhy) = self.tool(OOMWHY) {
            let measured = &oomwhy.measured;
            let (ready, later) = (&measured.memory_ready, &measured.memory_after_kills);
            let resident = millions(ready.resident_bytes.max(later.resident_bytes));
            let silent = f64::from(measured.kills) - to_f64(oomwhy.latency.n as u64);
            values.extend([
                (Cost::Resident, resident),
                (Cost::Wakeups, to_f64(measured.idle_wakeups)),
                (Cost::Unreported, silent),
            ]);
        }
        let measurement = |(cost, value)| Measurement { cost, kernel: self.kernel.clone(), value };
        values.into_iter().map(measurement).collect()
    }
}

pub(crate) fn derive(figures: Figures, binary_bytes: u64) -> Result<Costs> {
    let mut rows = rows(&figures.counts)?;
    rows.sort_by_key(|row| (row.printed, row.candidates));
    let candidate = candidate(&rows)?;
    let alone = rows.iter().find(|row| row.printed == Printed::Line);
    Ok(Costs {
        kernel: figures.kernel,
        release: figures.release,
        per_invocation: alone.map_or(f64::NAN, |row| row.added() - candidate.added),
        candidate,
        rows,
        programs: figures.counts.programs,
        storms: figures.counts.storms,
        tools: figures.comparison.tools.into_iter().map(tool).collect(),
        kmsg: latency(figures.comparison.kmsg_latencies_ns),
        binary_bytes,
    })
}

fn rows(counts: &Counts) -> Result<Vec<Row>> {
    let without = counts.cells.iter().filter(|cell| !cell.traced);
    without
        .map(|cell| {
            let with = counts.cells.iter().find(|other| {
                other.traced && other.candidates == cell.candidates && other.printed == cell.printed
            });
            Ok(Row {
                candidates: cell.candidates,
                printed: cell.printed,
                without: median_of(cell)?,
                with: median_of(with.context("a number of candidates was not traced")?)?,
            })
        })
        .collect()
}

fn candidate(rows: &[Row]) -> Result<Candidate> {
    let of = |printed| -> Vec<&Row> { rows.iter().filter(|row| row.printed == printed).collect() };
    let (bare, dumped) = (of(Printed::Line), of(Printed::Tasks));
    let n = bare.len();
    ensure!(
        n >= 2 && dumped.len() == n,
        "a slope needs two numbers of candidates\nhint: --sleepers 0,500"
    );
    let alone = |row: &Row| row.without.total;
    Ok(Candidate {
        bare: slope(bare[0], bare[n - 1], alone),
        dumped: slope(dumped[0], dumped[n - 1], alone),
        added: slope(bare[0], bare[n - 1], Row::added),
        added_in_crowd: slope(bare[n - 2], bare[n - 1], Row::added),
    })
}

fn slope(first: &Row, last: &Row, value: impl Fn(&Row) -> f64) -> f64 {
    (value(last) - value(first)) / to_f64((last.candidates - first.candidates) as u64)
}

fn median_of(cell: &Cell) -> Result<Median> {
    ensure!(!cell.runs.is_empty(), "nothing was repeated\nhint: --repeats 5");
    let sorted = |value: fn(&Run) -> u64| -> Vec<u64> {
        let mut values: Vec<u64> = cell.runs.iter().map(value).collect();
        values.sort_unstable();
        values
    };
    let totals = sorted(|run| run.total);
    Ok(Median {
        to_mark: percentile(&sorted(|run| run.to_mark), 50),
        total: percentile(&totals, 50),
        spread: percentile(&totals, 100) - percentile(&totals, 0),
    })
}

fn tool(mut measured: Measured) -> Tool {
    measured.starts_ns.sort_unstable();
    Tool {
        name: measured.name.clone(),
        start_ns: percentile(&measured.starts_ns, 50),
        latency: latency(measured.latencies_ns.clone()),
        measured,
    }
}

fn latency(mut latencies_ns: Vec<u64>) -> Latency {
    latencies_ns.sort_unstable();
    Latency {
        n: latencies_ns.len(),
        p50_ns: percentile(&latencies_ns, 50),
        p99_ns: percentile(&latencies_ns, 99),
    }
}

/// A percentile of sorted values; NaN if there are none.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last * percent).div_ceil(100);
    sorted.get(index).map_or(f64::NAN, |&value| to_f64(value))
}

/// Bytes to MB, nanoseconds to ms.
pub(crate) fn millions(value: u64) -> f64 {
    to_f64(value) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53, to be divided")]
pub(crate) const fn to_f64(value: u64) -> f64 {
    value as f64
}
