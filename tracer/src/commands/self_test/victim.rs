//! The child: joins the cgroup, waits for the word, allocates until it is killed.

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

/// Several times the limit: one that gets all of it was not killed.
const CHUNKS: u64 = 8 * LIMIT_BYTES / CHUNK_BYTES;
const CHUNK_BYTES: u64 = 1 << 20;

/// Ends by SIGKILL if all is well.
pub(crate) fn main(cgroup: &Path) -> io::Result<()> {
    // Before anyone else; an oomwhy that protects itself hands -1000 down.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    thread::set_name(c"oomwhy-victim")?;
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    let mut word = [0];
    if io::stdin().read(&mut word)? == 0 {
        // Whoever started us is gone.
        return Ok(());
    }
    // Swap would put off the end. Not permitted to everyone.
    let _ = mlockall(MlockAllFlags::FUTURE);
    let mut memory = Vec::new();
    for _ in 0..CHUNKS {
        memory.push(vec![1_u8; usize::try_from(CHUNK_BYTES).unwrap_or_default()]);
        black_box(&memory);
    }
    Ok(())
}
