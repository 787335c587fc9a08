//! What the probes could not write, or did not write for lack of room.
//!
//! The layout of wire version 4. [`before_version_4`] has the one before.

/// Indexes of the per-CPU array `LOST`. Few, because each takes memory on every possible CPU.
pub const DETAILS: u32 = 0;
/// Hints for which their own buffer had no room, or that came faster than their rate limit. They
/// are no lost kills.
pub const HINTS: u32 = 1;
/// Details that were left out because the ring was short of room. A report says which.
pub const SHED: u32 = 2;
/// `CLOCK_BOOTTIME` of the first lost detail on this CPU, ns. 0 if this CPU lost none.
pub const FIRST_DROP_NS: u32 = 3;
/// `CLOCK_BOOTTIME` of the latest lost detail on this CPU, ns.
pub const LAST_DROP_NS: u32 = 4;
/// Number of counters in the array.
pub const COUNT: u32 = 5;

/// Indexes of the array `KILLS_LOST`, which all CPUs share: who writes it holds `oom_lock`, so the
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
