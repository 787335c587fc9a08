//! Folded stacks: one line a stack, outermost frame first, as flame graph tools take them.

use std::collections::BTreeMap;

use anstyle::Style;

use super::{Sample, samples};
use crate::{fmt::lines::Lines, model::report::OomReport};

/// `process;outer;...;inner bytes`, a line for each stack. Kernel frames end in `_[k]`.
pub(crate) fn folded(report: &OomReport) -> Lines {
    let mut text = Lines::default();
    for line in lines(report) {
        text.line(Style::new(), line);
    }
    text
}

/// The lines, each stack once.
pub(super) fn lines(report: &OomReport) -> Vec<String> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let samples: Vec<Sample<'_>> = report.growth.iter().flat_map(samples).collect();
    // A file may hold any numbers, and a reader's sum of them must not overflow.
    let max = u64::MAX / 2 / (samples.len() as u64).max(1);
    for sample in samples {
        *sums.entry(stack(&sample)).or_default() += sample.bytes.min(max);
    }
    sums.into_iter().map(|(stack, bytes)| format!("{stack} {bytes}")).collect()
}

fn stack(sample: &Sample<'_>) -> String {
    let process = match sample.pid {
        Some(pid) => format!("{}[{pid}]", sample.comm),
        None => sample.comm.clone(),
    };
    let frames = sample.frames.iter().rev().map(|frame| {
        let mark = if frame.is_kernel { "_[k]" } else { "" };
        format!("{}{mark}", frame.name)
    });
    // A semicolon separates frames, a line's end stacks.
    let words = std::iter::once(process).chain(frames);
    words.map(|word| word.replace(';', ":").replace('\n', " ")).collect::<Vec<_>>().join(";")
}
