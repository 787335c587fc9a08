//! The maps of the growth recorder: why this type, why this size. Without `--growth` the loader
//! gives each one entry. The hash maps are LRU: entries that grow now evict those that do not.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray},
};
use oomwhy_common::{
    event::USER_FRAMES,
    growth::{COUNTERS, Charged, Charger, Curve, KernelStack, NEAR_LEVELS, UserStack},
};

/// Usage over time of cgroups near their limits, by cgroup id. 1.8 MiB.
#[map]
pub(crate) static CURVES: LruHashMap<u64, Curve> = LruHashMap::with_max_entries(256, 0);

/// Charged pages by process, stacks and CPU. 1.3 MiB with the kernel's overhead; the loader makes
/// it larger on hosts with many CPUs.
#[map]
pub(crate) static CHARGED: LruHashMap<Charger, Charged> = LruHashMap::with_max_entries(8192, 0);

/// User stacks by hash. Their build ids are expensive to find and are looked up once. 1 MiB.
#[map]
pub(crate) static USER_STACKS: LruHashMap<u64, UserStack> = LruHashMap::with_max_entries(1024, 0);

/// Kernel stacks by hash. 128 KiB.
#[map]
pub(crate) static KERNEL_STACKS: LruHashMap<u64, KernelStack> =
    LruHashMap::with_max_entries(512, 0);

/// Processes that were reported as growing, by address of the `mm_struct` and process id.
#[map]
pub(crate) static GROWING: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(1024, 0);

/// Counts of new and lost entries, index `oomwhy_common::growth`.
#[map]
pub(crate) static GROWTH_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Time of the latest report of a growing process, `CLOCK_BOOTTIME` ns.
#[map]
pub(crate) static REPORTED_NS: Array<u64> = Array::with_max_entries(1, 0);

/// A curve without points, the source of new map values: the BPF stack has no room for one.
#[map]
pub(crate) static NO_CURVE: Array<Curve> = Array::with_max_entries(1, 0);

/// Scratch of one charge, index CPU. A run stays on its CPU, and since 5.12 the kernel starts no
/// second run there meanwhile. Before 5.12, an interrupt that charges memory starts one: see
/// [`Scratch::is_busy`]. Not a per-CPU map, because that takes its memory even without a recorder.
/// Without a recorder, the loader gives this map one entry.
#[map]
pub(crate) static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// Arguments of charges near a limit, by task, for the kretprobe. LRU: an evicted charge is not
/// counted.
#[map]
pub(crate) static CHARGES: LruHashMap<u64, Charge> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of one `page_counter_try_charge`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Charge {
    /// Address of the `page_counter`.
    pub(crate) counter: u64,
    pub(crate) pages: u64,
}

/// The value of [`SCRATCH`].
#[repr(C)]
pub(crate) struct Scratch {
    /// 1 while a run uses it.
    pub(crate) is_busy: u64,
    pub(crate) key: Charger,
    pub(crate) new: Charged,
    pub(crate) near: [u64; NEAR_LEVELS],
    /// Number of ids in `near`.
    pub(crate) n_near: u64,
    /// Return addresses of the user stack.
    pub(crate) ips: [u64; USER_FRAMES],
    pub(crate) kernel_stack: KernelStack,
    pub(crate) user_stack: UserStack,
}
