//! Keys and values of the growth recorder's maps. The probe writes them; userspace reads them when
//! memory has run out. Kernel units: pages, `CLOCK_BOOTTIME` ns.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{COMM_LEN, USER_FRAMES, UserFrame};

/// Points that a curve keeps of the last minute, and as many of the last hour.
pub const POINTS: usize = 64;
/// Time between two points of the last minute, ns.
pub const FINE_NS: u64 = 1_000_000_000;
/// Time between two points of the last hour, ns.
pub const COARSE_NS: u64 = 60_000_000_000;
/// Charges are summed up per epoch of this length, ns. The current epoch and the one before count.
pub const EPOCH_NS: u64 = 600_000_000_000;
/// Levels of a cgroup hierarchy near their limits whose ids are kept, leaf first.
pub const NEAR_LEVELS: usize = 4;
/// Innermost frames of a kernel stack that are kept.
pub const KERNEL_FRAMES: usize = 32;
/// One in this many charges from a user stack has its kernel stack unwound, the costliest step.
/// The other charges count for the kernel stack that was unwound last.
pub const CHARGES_PER_KERNEL_STACK: u64 = 16;
/// A `page_counter.max` of at least this many pages is no limit: `PAGE_COUNTER_MAX` is
/// `LONG_MAX / PAGE_SIZE`.
pub const NO_LIMIT_PAGES: u64 = 1 << 46;

/// Counter of entries that were new to their map. Those that the map no longer has were evicted.
pub const NEW: u32 = 0;
/// Counter of entries that found no room in a map.
pub const DROPPED: u32 = 1;
/// Number of these counters.
pub const COUNTERS: u32 = 2;

/// A memcg's usage at one time.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Point {
    /// Time of the point, `CLOCK_BOOTTIME` ns. 0 if there is no point.
    pub t_ns: u64,
    /// Memory in use in pages, `page_counter.usage`.
    pub usage: u64,
    /// Memory limit in pages, `page_counter.max`.
    pub max: u64,
}

/// A memcg's usage at one time, without its limit.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Level {
    /// Time of the charge, `CLOCK_BOOTTIME` ns.
    pub t_ns: u64,
    /// Memory in use, pages.
    pub usage: u64,
}

/// The lowest and the highest usage between two points. If usage rises and falls faster than points
/// are taken, the points alone would show these only by chance.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Extremes {
    /// The first charge with the lowest usage.
    pub low: Level,
    /// The first charge with the highest usage.
    pub high: Level,
}

/// A point, and the extremes since the point before it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Step {
    /// The point that ends the step.
    pub point: Point,
    /// Lowest and highest usage since the previous point, both points included.
    pub extremes: Extremes,
}

/// The latest points that are at least [`FINE_NS`] or [`COARSE_NS`] apart.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ring {
    /// Number of points ever added.
    pub n: u64,
    /// Extremes since the last point.
    pub since: Extremes,
    /// Point n is at index n modulo [`POINTS`].
    pub steps: [Step; POINTS],
}

/// A memcg's usage over time, the value of `CURVES` by cgroup id.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Curve {
    /// Usage after the latest charge.
    pub latest: Point,
    /// Points every [`FINE_NS`].
    pub fine: Ring,
    /// Points every [`COARSE_NS`].
    pub coarse: Ring,
}

/// A charging process and its stacks: the key of [`Charged`].
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Charger {
    /// `kernfs_node.id` of the memcg that was charged itself, not of one above it.
    pub cgroup_id: u64,
    /// Process id. 0 if the task that ran is not in that memcg: it charged for another task.
    pub tgid: u64,
    /// Hash of the process and its user stack. 0 if there is no user stack.
    pub user_stack: u64,
    /// Hash of the kernel stack. 0 if there is none.
    pub kernel_stack: u64,
    /// CPU that counted. Each CPU has entries of its own, so no charge is lost to a race.
    pub cpu: u64,
}

/// Pages that one [`Charger`] charged.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Charged {
    /// Number of the epoch: `CLOCK_BOOTTIME` divided by [`EPOCH_NS`].
    pub epoch: u64,
    /// Pages charged in that epoch.
    pub pages: u64,
    /// Pages charged in the epoch before.
    pub pages_before: u64,
    /// Ids of the cgroups near their limits at the latest charge, from the charged one upward. 0 if
    /// there are fewer.
    pub near: [u64; NEAR_LEVELS],
    /// Name of the thread that charged first.
    pub comm: [u8; COMM_LEN],
}

/// A user stack from which memory was charged.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct UserStack {
    /// Number of charges from this stack so far.
    pub charges: u64,
    /// Hash of the kernel stack that was unwound last. 0 if none was.
    pub kernel_stack: u64,
    /// Frames, innermost first. Status 0 follows the last one.
    pub frames: [UserFrame; USER_FRAMES],
}

/// A kernel stack from which memory was charged.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct KernelStack {
    /// Return addresses, innermost first. 0 follows the last one.
    pub frames: [u64; KERNEL_FRAMES],
}

const _: () = {
    assert!(size_of::<Curve>() == 7272);
    assert!(size_of::<Charger>() == 40);
    assert!(size_of::<Charged>() == 72);
    assert!(size_of::<UserStack>() == 1040);
    assert!(size_of::<KernelStack>() == 256);
};
