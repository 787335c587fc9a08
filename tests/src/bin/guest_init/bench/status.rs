//! What /proc tells of a process: its memory and how often it slept.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::Memory;

/// Its memory now.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let bytes = |key| Ok::<u64, anyhow::Error>(number(&status, key)? * 1024);
    Ok(Memory {
        resident_bytes: bytes("VmRSS:")?,
        anon_bytes: bytes("RssAnon:")?,
        peak_bytes: bytes("VmHWM:")?,
    })
}

/// Voluntary context switches of all of its threads so far: each ends with a wake-up.
pub(super) fn voluntary_switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = read(&thread?.path().join("status"))?;
        sum += number(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read: did the tool end?", path.display()))
}

fn number(status: &str, key: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("the kernel tells no {key}"))
}
