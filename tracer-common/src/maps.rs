//! Map values and constants that both halves must agree on: the probes write the maps, userspace
//! reads them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Size of the ring buffer, bytes, unless `--ring-size` sets another one. A full report takes at
/// most 7 KiB and usually 3 KiB, so it holds a burst of 100 kills that nobody reads.
pub const RING_BYTES: u32 = 512 << 10;

/// A run of invocations without a victim ends after this much silence. A later invocation starts
/// a new run, which is reported again. ns.
pub const RUN_ENDS_AFTER_NS: u64 = 10_000_000_000;

/// A task that enters `mem_cgroup_oom_synchronize` again within this time was woken but found no
/// memory, so its wait continues. ns.
pub const WAIT_CONTINUES_WITHIN_NS: u64 = 1_000_000_000;

/// Value of the map `QUIET_RUNS`: consecutive invocations that ended alike without a victim.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct QuietRun {
    /// `seq` of the first invocation of the run.
    pub seq: u64,
    /// How the invocations ended, as the probes encode it. Userspace does not read it.
    pub ending: u64,
    /// Number of invocations in the run.
    pub count: u64,
    /// Return of the latest invocation, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
}

/// Value of the map `WAITING`: a task that waits for a memcg whose OOM killer is disabled.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Wait {
    /// Start of the wait, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// Latest entry into or return from `mem_cgroup_oom_synchronize`, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
    /// 1 while the task is inside `mem_cgroup_oom_synchronize`.
    pub inside: u64,
}

const _: () = {
    assert!(size_of::<QuietRun>() == 32);
    assert!(size_of::<Wait>() == 24);
};
