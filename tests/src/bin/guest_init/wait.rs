//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until the condition holds; false if it did not within the time.
pub(crate) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
