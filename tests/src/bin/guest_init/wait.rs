//! Waits for a condition, with a time limit.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until the condition holds. Returns false if it did not hold in time.
pub(crate) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const LONGEST: Duration = Duration::from_millis(10);
    // The pause grows: a short wait ends soon, and a long wait takes little CPU time.
    let mut pause = Duration::from_millis(1);
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST);
    }
}
