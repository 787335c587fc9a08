//! What the growth recorder keeps in its maps: the probe writes it, userspace reads it when memory
//! has run out. Kernel units: pages, `CLOCK_BOOTTIME` ns.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{COMM_LEN, USER_FRAMES, UserFrame};

/// Points kept of the last minute, and as many of the last hour.
pub const POINTS: usize = 64;
/// Time between two points of the last minute. ns.
pub const FINE_NS: u64 = 1_000_000_000;
/// Time between two points of the last hour. ns.
pub const COARSE_NS: u64 = 60_000_000_000;
/// Charges are summed up by time of this length; this one and the one before count. ns.
pub const EPOCH_NS: u64 = 600_000_000_000;
/// Levels of a cgroup hierarchy near their limits that are told apart, leaf first.
pub const NEAR_LEVELS: usize = 4;
/// Frames kept of a kernel stack.
pub const KERNEL_FRAMES: usize = 32;
/// Charges from one user stack of which one has its kernel stack unwound, which costs most of all;
/// the others count for the one that was unwound last.
pub const CHARGES_PER_KERNEL_STACK: u64 = 16;
/// A `page_counter.max` from here on is no limit: `PAGE_COUNTER_MAX` is `LONG_MAX / PAGE_SIZE`. Pages.
pub const NO_LIMIT_PAGES: u64 = 1 << 46;

/// Counter: entries that were new to their map. What is not in it any more was pushed out.
pub const NEW: u32 = 0;
/// Counter: what found no room in a map.
pub const DROPPED: u32 = 1;
/// Number of counters.
pub const COUNTERS: u32 = 2;

/// A memcg's usage at one time.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Point {
    /// `CLOCK_BOOTTIME`, ns; 0: no point.
    pub t_ns: u64,
    /// `page_counter.usage`, pages.
    pub usage: u64,
    /// `page_counter.max`, pages.
    pub max: u64,
}

/// Usage at one time, where the limit does not matter.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Level {
    /// As of [`Point`].
    pub t_ns: u64,
    /// As of [`Point`].
    pub usage: u64,
}

/// The lowest and the highest usage of a time. What goes up and down faster than points are taken would
/// show them by chance.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Extremes {
    /// The first of the lowest.
    pub low: Level,
    /// The first of the highest.
    pub high: Level,
}

/// A point, and what was between the one before it and itself.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Step {
    /// Its end.
    pub point: Point,
    /// From the point before, both included.
    pub extremes: Extremes,
}

/// The latest points that lie at least so far apart.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ring {
    /// Points ever put in.
    pub n: u64,
    /// Since the last one.
    pub since: Extremes,
    /// Point n is at n modulo their number.
    pub steps: [Step; POINTS],
}

/// A memcg's usage over time, by its cgroup id.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Curve {
    /// After the latest charge.
    pub latest: Point,
    /// At [`FINE_NS`].
    pub fine: Ring,
    /// At [`COARSE_NS`].
    pub coarse: Ring,
}

/// Who charges, and from where: the key of [`Charged`].
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Charger {
    /// `kernfs_node.id` of the memcg that was charged itself.
    pub cgroup_id: u64,
    /// Process; 0 where the task that ran is not in that memcg: it was charged for somebody else.
    pub tgid: u64,
    /// Hash of the process and its user stack; 0: there is none.
    pub user_stack: u64,
    /// Hash of the kernel stack; 0: there is none.
    pub kernel_stack: u64,
    /// The CPU: each counts for itself, so that none loses a charge to another.
    pub cpu: u64,
}

/// What was charged from one place.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Charged {
    /// Number of the epoch: time divided by [`EPOCH_NS`].
    pub epoch: u64,
    /// Pages in that epoch.
    pub pages: u64,
    /// Pages in the epoch before.
    pub pages_before: u64,
    /// Ids of cgroups near their limits, this one or above it, when it was charged last; 0: none.
    pub near: [u64; NEAR_LEVELS],
    /// Name of the task that charged first.
    pub comm: [u8; COMM_LEN],
}

/// A user stack.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct UserStack {
    /// Charges from it so far.
    pub charges: u64,
    /// Hash of the kernel stack that was unwound last; 0: none was.
    pub kernel_stack: u64,
    /// Innermost first; status 0 behind the last.
    pub frames: [UserFrame; USER_FRAMES],
}

/// A kernel stack.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct KernelStack {
    /// Innermost first; 0 behind the last.
    pub frames: [u64; KERNEL_FRAMES],
}

const _: () = {
    assert!(size_of::<Curve>() == 7272);
    assert!(size_of::<Charger>() == 40);
    assert!(size_of::<Charged>() == 72);
    assert!(size_of::<UserStack>() == 1040);
    assert!(size_of::<KernelStack>() == 256);
};
