//! Clocks. Records have `CLOCK_BOOTTIME`, reports the wall clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Reads `CLOCK_BOOTTIME`, which goes on while the host is suspended; ns.
pub(crate) fn boottime_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or_default()
}

/// `CLOCK_MONOTONIC`, which stops while the host is suspended; ns.
pub(crate) fn monotonic_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or_default()
}

/// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, ns.
pub(crate) fn realtime_offset_ns() -> i64 {
    let boottime = nanoseconds(clock_gettime(ClockId::Boottime));
    nanoseconds(clock_gettime(ClockId::Realtime)).saturating_sub(boottime)
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
