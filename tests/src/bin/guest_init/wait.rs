//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until the condition holds; false if it did not within the time.
pub(crate) fn until(limit: Duration, condition: impl FnMut() -> bool) -> bool {
    poll(limit, Duration::from_millis(10), condition)
}

/// The same, for what passes quickly.
pub(crate) fn closely(limit: Duration, condition: impl FnMut() -> bool) -> bool {
    poll(limit, Duration::from_millis(1), condition)
}

fn poll(limit: Duration, longest: Duration, mut condition: impl FnMut() -> bool) -> bool {
    // What comes soon is seen soon; who waits long does not get in the way of what it waits for.
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
        pause = (2 * pause).min(longest);
    }
}
