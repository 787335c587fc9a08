//! The cost of each BPF program of a process, from the kernel's own statistics.
//!
//! The statistics read a clock twice per run, so they are on only for one kill that is not
//! compared.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::Program;

/// The share of each program in the work of a closure.
pub(super) fn during(
    pid: u32,
    candidates: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<Vec<Program>> {
    let before = by_tag(pid)?;
    switch("1")?;
    work()?;
    switch("0")?;
    let names = names()?;
    let programs = by_tag(pid)?.into_iter().map(|(tag, (runs, nanoseconds))| {
        let (runs_before, nanoseconds_before) = before.get(&tag).copied().unwrap_or_default();
        Program {
            name: names.get(&tag).unwrap_or(&tag).clone(),
            candidates,
            runs: runs - runs_before,
            instructions: nanoseconds - nanoseconds_before,
        }
    });
    Ok(programs.filter(|program| program.runs > 0).collect())
}

fn switch(value: &str) -> Result<()> {
    fs::write("/proc/sys/kernel/bpf_stats_enabled", value)
        .context("the kernel keeps no statistics of BPF programs")
}

/// The runs and nanoseconds of programs, by tag.
fn by_tag(pid: u32) -> Result<BTreeMap<String, (u64, u64)>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let info = fs::read_to_string(entry?.path())?;
        let value = |key| info.lines().find_map(|line| line.strip_prefix(key));
        let number = |key| value(key)?.trim().parse::<u64>().ok();
        if let (Some(tag), Some(runs), Some(nanoseconds)) =
            (value("prog_tag:"), number("run_cnt:"), number("run_time_ns:"))
        {
            programs.insert(tag.trim().to_owned(), (runs, nanoseconds));
        }
    }
    Ok(programs)
}

/// The names of all loaded programs by tag: kallsyms has `bpf_prog_TAG_NAME`.
fn names() -> Result<BTreeMap<String, String>> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("kallsyms cannot be read")?;
    let programs = symbols.lines().filter_map(|line| {
        let symbol = line.split_whitespace().nth(2)?;
        let (tag, name) = symbol.strip_prefix("bpf_prog_")?.split_once('_')?;
        Some((tag.to_owned(), name.to_owned()))
    });
    Ok(programs.collect())
}
