//! Reads oom_score, for which the kernel evaluates a task outside of any invocation.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process;

use anyhow::{Context as _, Result};
use oomwhy_tests::workload::reads_file;

use super::ready;

const READS_BEFORE_READY: u64 = 1000;
/// The number of reads of one process before the next one, because an open costs more than a read.
const READS_IN_A_ROW: u64 = 50;

/// Reads each process' oom_score in an endless loop.
pub(super) fn read() -> Result<()> {
    let path = reads_file(process::id());
    let output = File::create(&path).with_context(|| format!("{path} cannot be made"))?;
    let mut n_reads = 0;
    let mut is_ready = false;
    loop {
        for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
            if let Ok(score) = File::open(process.path().join("oom_score")) {
                n_reads += read_again(&score);
                output.write_all_at(format!("{n_reads}\n").as_bytes(), 0)?;
            }
            if !is_ready && n_reads >= READS_BEFORE_READY {
                is_ready = true;
                ready();
            }
        }
    }
}

/// Reads one process' score several times while it lives. Returns the number of reads.
fn read_again(score: &File) -> u64 {
    let mut text = [0; 16];
    let reads = (0..READS_IN_A_ROW).map_while(|_| score.read_at(&mut text, 0).ok());
    reads.filter(|length| *length > 0).count() as u64
}
