//! The host's memory, for an invocation that was nobody's limit.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What /proc/meminfo and /proc/zoneinfo say, read right after the choice was made: the victim may
/// have given memory back by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct System {
    /// When it was read, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// How long after the entry into out_of_memory that was, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<u64>,
    /// MemTotal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// MemFree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// MemAvailable: the kernel's estimate of what can be had without swapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// AnonPages: anonymous memory that is mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Active(file) and Inactive(file): page cache of files, without shmem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shmem: tmpfs and shared memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Unevictable: locked, or on a ramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// SReclaimable: slab that can be given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// SUnreclaim: slab that cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_unreclaimable_bytes: Option<u64>,
    /// KernelStack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack_bytes: Option<u64>,
    /// PageTables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_tables_bytes: Option<u64>,
    /// Percpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percpu_bytes: Option<u64>,
    /// Hugetlb: huge pages set aside, in use or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hugetlb_bytes: Option<u64>,
    /// SwapTotal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// SwapFree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_bytes: Option<u64>,
    /// CommitLimit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_limit_bytes: Option<u64>,
    /// Committed_AS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_bytes: Option<u64>,
    /// The memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<Node>>,
}

/// A memory node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number.
    pub node: u32,
    /// Free in all its zones.
    pub free_bytes: u64,
    /// Its zones that have memory.
    pub zones: Vec<Zone>,
}

/// A zone of a memory node, with its watermarks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Zone {
    /// "DMA", "DMA32", "Normal", "Movable".
    pub name: String,
    /// Free.
    pub free_bytes: u64,
    /// An ordinary allocation must leave so much free.
    pub min_bytes: u64,
    /// Below this, kswapd is woken.
    pub low_bytes: u64,
    /// Up to this, kswapd reclaims.
    pub high_bytes: u64,
    /// What the page allocator has in all.
    pub managed_bytes: u64,
}
