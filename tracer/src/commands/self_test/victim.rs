//! The child: joins the cgroup, waits for a byte on stdin, and allocates until it is killed.

use std::{
    fs,
    hint::black_box,
    io::{self, Read as _},
    path::Path,
};

use rustix::{
    mm::{MlockAllFlags, mlockall},
    thread,
};

use super::LIMIT_BYTES;

/// Several times the limit. A child that gets all of it was not killed.
const CHUNKS: u64 = 8 * LIMIT_BYTES / CHUNK_BYTES;
const CHUNK_BYTES: u64 = 1 << 20;

/// Returns only if the child was not killed.
pub(crate) fn main(cgroup: &Path) -> io::Result<()> {
    // The child must be chosen before others. It may inherit -1000 from oomwhy.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    thread::set_name(c"oomwhy-victim")?;
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    let mut start = [0];
    if io::stdin().read(&mut start)? == 0 {
        // The parent has exited.
        return Ok(());
    }
    // Swap would delay the kill. The call fails without the privilege, which is harmless.
    let _ = mlockall(MlockAllFlags::FUTURE);
    let mut memory = Vec::new();
    for _ in 0..CHUNKS {
        memory.push(vec![1_u8; usize::try_from(CHUNK_BYTES).unwrap_or_default()]);
        black_box(&memory);
    }
    Ok(())
}
