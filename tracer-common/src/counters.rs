//! Counts of the records that the probes lost, and of the details that they shed.
//!
//! This is the layout of wire version 4. [`before_version_4`] has the layout of older versions.

/// Number of lost details: an index of the per-CPU array `LOST`, like the next ones. The array is
/// short, because each counter takes memory on every possible CPU.
pub const DETAILS: u32 = 0;
/// Number of hints that were dropped, because their ring was full or because they exceeded their
/// rate limit. No report counts them as lost.
pub const HINTS: u32 = 1;
/// Number of details that were shed because their ring was short of room. A report lists them in
/// `source.shed`.
pub const SHED: u32 = 2;
/// `CLOCK_BOOTTIME` of the first lost detail on this CPU, ns. 0 if this CPU lost none.
pub const FIRST_DROP_NS: u32 = 3;
/// `CLOCK_BOOTTIME` of the latest lost detail on this CPU, ns.
pub const LAST_DROP_NS: u32 = 4;
/// Number of counters in the array.
pub const COUNT: u32 = 5;

/// Indexes of the array `KILLS_LOST`, which all CPUs share. Its writers hold `oom_lock`, so the
/// counts are exact. An index below [`kills::FIRST_NS`] is a cause of [`crate::event::cause`].
pub mod kills {
    /// `CLOCK_BOOTTIME` of the first lost kill, ns. 0 if none was lost.
    pub const FIRST_NS: u32 = 4;
    /// `CLOCK_BOOTTIME` of the latest lost kill, ns.
    pub const LAST_NS: u32 = 5;
    /// Number of entries in the array.
    pub const COUNT: u32 = 6;
}

/// Indexes of the per-CPU array `COUNTERS` of wire versions 2 and 3, which pins may still have.
pub mod before_version_4 {
    /// First of the drop counters: `DROPPED + kind` counts records of that kind.
    pub const DROPPED: u32 = 0;
    /// Number of drop counters.
    pub const KINDS: u32 = 20;
    /// `CLOCK_BOOTTIME` of the first drop on this CPU, ns. 0 if this CPU dropped nothing.
    pub const FIRST_DROP_NS: u32 = 20;
    /// `CLOCK_BOOTTIME` of the latest drop on this CPU, ns.
    pub const LAST_DROP_NS: u32 = 21;
}
