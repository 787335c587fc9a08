//! Collects the facts of a kernel for tests that need no kernel: its BTF, the names of its symbols,
//! the formats of the tracepoints around the OOM killer.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::results;

const TRACEPOINTS: &[&str] = &[
    "oom",
    "signal/signal_generate",
    "signal/signal_deliver",
    "sched/sched_process_exit",
    "cgroup/cgroup_mkdir",
    "cgroup/cgroup_rmdir",
    "vmscan/mm_vmscan_memcg_reclaim_begin",
];

/// Stores all facts in the results.
pub(crate) fn collect() -> Result<()> {
    let directory = results::directory("host_facts")?;
    fs::create_dir_all(directory.join("btf"))?;
    copy("/sys/kernel/btf/vmlinux", &directory.join("btf/vmlinux"))?;
    fs::write(directory.join("kallsyms.txt"), symbols()?)?;
    for name in TRACEPOINTS {
        let source = Path::new("/sys/kernel/tracing/events").join(name);
        copy_formats(&source, &directory.join("tracefs").join(name))?;
    }
    copy("/proc/version", &directory.join("version.txt"))?;
    results::send(&directory)
}

fn copy(source: &str, target: &Path) -> Result<()> {
    let content = fs::read(source).with_context(|| format!("{source} cannot be read"))?;
    fs::write(target, content).with_context(|| format!("{} cannot be written", target.display()))
}

/// The symbols by kind and name, without addresses, which change with every boot.
fn symbols() -> Result<String> {
    let kallsyms = fs::read_to_string("/proc/kallsyms").context("kallsyms cannot be read")?;
    let mut symbols = String::new();
    for line in kallsyms.lines() {
        if let Some((_address, symbol)) = line.split_once(' ') {
            writeln!(symbols, "{symbol}")?;
        }
    }
    Ok(symbols)
}

fn copy_formats(source: &Path, target: &Path) -> Result<()> {
    let format = source.join("format");
    if format.exists() {
        fs::create_dir_all(target)?;
        return copy(&format.display().to_string(), &target.join("format"));
    }
    let Ok(entries) = fs::read_dir(source) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_dir(), path.file_name()) {
            copy_formats(&path, &target.join(name))?;
        }
    }
    Ok(())
}
