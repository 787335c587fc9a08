//! Tests that the time of a function grows with its input, not with the square of it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Checks that a function takes less than three times as long for twice the input. Other processes
/// do not count: it is the processor time of this thread, the shortest of some runs.
pub(crate) fn assert_linear<T>(once: impl Fn() -> T, twice: impl Fn() -> T) {
    const RUNS: usize = 5;
    let (mut short, mut long) = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        short = short.min(time(&once));
        long = long.min(time(&twice));
    }
    assert!(long < short * 3, "{short:?}, twice the input: {long:?}");
}

fn time<T>(run: impl Fn() -> T) -> Duration {
    let start = now();
    std::hint::black_box(run());
    now().saturating_sub(start)
}

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}
