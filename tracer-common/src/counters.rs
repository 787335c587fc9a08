//! Indexes of the per-CPU array `COUNTERS`, which counts the records that the probes lost.

/// First of the drop counters. `DROPPED + kind` counts records of that kind (`event::kind`) that
/// found no room in the ring buffer.
pub const DROPPED: u32 = 0;
/// `CLOCK_BOOTTIME` of the first drop on this CPU, ns. 0 if this CPU dropped nothing.
pub const FIRST_DROP_NS: u32 = 20;
/// `CLOCK_BOOTTIME` of the latest drop on this CPU, ns.
pub const LAST_DROP_NS: u32 = 21;
/// Number of counters in the array.
pub const COUNT: u32 = 22;
