//! The memory of the host, if no limit of a memory cgroup was hit.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The memory of the host from /proc/meminfo and /proc/zoneinfo. It is read right after the choice,
/// so the victim may already have released memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct System {
    /// The time of the reading, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// The time from the entry into out_of_memory to the reading, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<u64>,
    /// Usable RAM: MemTotal, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Free memory: MemFree, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The kernel's estimate of the memory available without swapping: MemAvailable, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Mapped anonymous memory: AnonPages, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Page cache without shared memory: Active(file) plus Inactive(file), bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory and tmpfs: Shmem, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Locked memory and ramfs: Unevictable, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// Reclaimable slab: SReclaimable, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// Unreclaimable slab: SUnreclaim, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Kernel stacks: KernelStack, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack_bytes: Option<u64>,
    /// Page tables: PageTables, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_tables_bytes: Option<u64>,
    /// Per-CPU allocations: Percpu, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percpu_bytes: Option<u64>,
    /// Reserved huge pages, in use or not: Hugetlb, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hugetlb_bytes: Option<u64>,
    /// Total swap: SwapTotal, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// Free swap: SwapFree, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_bytes: Option<u64>,
    /// Limit of the committed memory: CommitLimit, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_limit_bytes: Option<u64>,
    /// Committed memory: Committed_AS, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_bytes: Option<u64>,
    /// The memory (NUMA) nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<Node>>,
}

/// A memory (NUMA) node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// The number of the node.
    pub node: u32,
    /// Free memory of all its zones, bytes.
    pub free_bytes: u64,
    /// The zones of the node that have memory.
    pub zones: Vec<Zone>,
}

/// A zone of a memory node, with its watermarks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Zone {
    /// The name of the zone: "DMA", "DMA32", "Normal" or "Movable".
    pub name: String,
    /// Free memory of the zone, bytes.
    pub free_bytes: u64,
    /// The min watermark, bytes. An ordinary allocation must leave this much free.
    pub min_bytes: u64,
    /// The low watermark, bytes. Below it, the kernel wakes kswapd.
    pub low_bytes: u64,
    /// The high watermark, bytes. kswapd reclaims up to it.
    pub high_bytes: u64,
    /// The memory that the page allocator manages, bytes.
    pub managed_bytes: u64,
}
