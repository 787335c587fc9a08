//! The maps of the growth recorder: why this type, why this size. Without it the loader makes each as
//! small as can be. All are LRU: the ones that push others out are those that grow now.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray},
};
use oomwhy_common::{
    event::USER_FRAMES,
    growth::{COUNTERS, Charged, Charger, Curve, KernelStack, NEAR_LEVELS, UserStack},
};

/// Usage over time, by cgroup id: of cgroups near their limits. 1.8 MiB.
#[map]
pub(crate) static CURVES: LruHashMap<u64, Curve> = LruHashMap::with_max_entries(256, 0);

/// What was charged, by process, place and CPU. 1.3 MiB with what the kernel adds; the loader makes it larger
/// on hosts with many CPUs.
#[map]
pub(crate) static CHARGED: LruHashMap<Charger, Charged> = LruHashMap::with_max_entries(8192, 0);

/// User stacks by hash: the build ids in them are costly to find, and found once. 1 MiB.
#[map]
pub(crate) static USER_STACKS: LruHashMap<u64, UserStack> = LruHashMap::with_max_entries(1024, 0);

/// Kernel stacks by hash. 128 KiB.
#[map]
pub(crate) static KERNEL_STACKS: LruHashMap<u64, KernelStack> =
    LruHashMap::with_max_entries(512, 0);

/// Memory (its address) and process that userspace was told of.
#[map]
pub(crate) static GROWERS: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(1024, 0);

/// What found no place, index `oomwhy_common::growth`.
#[map]
pub(crate) static GROWTH_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// When userspace was told of one last, ns.
#[map]
pub(crate) static TOLD_NS: Array<u64> = Array::with_max_entries(1, 0);

/// A curve without points: a map's new value must be somewhere.
#[map]
pub(crate) static NO_CURVE: Array<Curve> = Array::with_max_entries(1, 0);

/// Where a charge is taken apart. Per CPU: the program does not interrupt itself, and stays on
/// its CPU.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Arguments of charges near a limit, by task, for the kretprobe. LRU: what is pushed out is a charge
/// that goes uncounted.
#[map]
pub(crate) static CHARGES: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(1024, 0);

/// See [`SCRATCH`].
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) key: Charger,
    pub(crate) new: Charged,
    pub(crate) near: [u64; NEAR_LEVELS],
    /// Addresses of the user stack.
    pub(crate) ips: [u64; USER_FRAMES],
    pub(crate) kernel_stack: KernelStack,
    pub(crate) user_stack: UserStack,
}
