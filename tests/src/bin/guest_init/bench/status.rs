//! Reads the memory, context switches and CPU times of a process from /proc.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::bench::Memory;

/// The current memory of a process.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let bytes = |key| Ok::<u64, anyhow::Error>(number(&status, key)? * 1024);
    Ok(Memory {
        resident_bytes: bytes("VmRSS:")?,
        anon_bytes: bytes("RssAnon:")?,
        peak_bytes: bytes("VmHWM:")?,
    })
}

/// The voluntary context switches of all threads so far. Each ends with a wake-up.
pub(super) fn voluntary_switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = read(&thread?.path().join("status"))?;
        sum += number(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// The user time and the system time so far, ns.
pub(super) fn cpu_times(pid: u32) -> Result<(u64, u64)> {
    /// The duration of one tick of USER_HZ.
    const TICK_NS: u64 = 10_000_000;

    let stat = read(Path::new(&format!("/proc/{pid}/stat")))?;
    // The name in brackets may contain spaces; utime and stime are the 14th and 15th field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user * TICK_NS, system * TICK_NS)),
        _ => bail!("the CPU time of {pid} cannot be read: {stat:?}"),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read: did the tool end?", path.display()))
}

fn number(status: &str, key: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("the kernel has no {key}"))
}
