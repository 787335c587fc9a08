//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until the condition holds; false if it did not within the time.
pub(crate) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const LONGEST: Duration = Duration::from_millis(10);
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
        pause = (2 * pause).min(LONGEST);
    }
}
