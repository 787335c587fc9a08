//! Cgroups and their limits.
//!
//! If a limit is set to "max", its key `K_bytes` is absent and `K_no_limit` is true (`no_limit` for
//! `max_bytes`). If both keys are absent, the limit is unknown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CgroupOwner, is_false};

/// A cgroup. Unknown parts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// The kernfs id, decimal. It is a string because it can exceed 2^53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The path from the root of the hierarchy; "/" for the root itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The bytes of the path in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Levels are missing at the start of the path, because it has more than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub path_truncated: bool,
}

/// The memcg whose limit was hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OomMemcg {
    /// The cgroup itself.
    #[serde(flatten)]
    pub cgroup: Cgroup,
    /// The container, pod or unit that has the limit.
    #[serde(flatten)]
    pub owner: CgroupOwner,
    /// Usage: memory.current (v1: memory.usage_in_bytes), bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Limit: memory.max (v1: memory.limit_in_bytes), bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// True if memory.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_limit: bool,
    /// Swap usage: memory.swap.current, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// Swap limit: memory.swap.max, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max_bytes: Option<u64>,
    /// True if memory.swap.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub swap_no_limit: bool,
    /// cgroup v1 only: usage of memory and swap together, memory.memsw.usage_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// cgroup v1 only: limit of memory and swap together, memory.memsw.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_max_bytes: Option<u64>,
    /// cgroup v1 only: true if memory and swap together have no limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub memsw_no_limit: bool,
    /// cgroup v1 only: kernel memory charged to the cgroup, memory.kmem.usage_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_usage_bytes: Option<u64>,
    /// cgroup v1 only: limit of the kernel memory, memory.kmem.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_max_bytes: Option<u64>,
    /// cgroup v1 only: true if the kernel memory has no limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kmem_no_limit: bool,
    /// memory.oom.group: true if all processes of the cgroup are killed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
    /// memory.stat before the kill, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stat: Option<BTreeMap<String, u64>>,
    /// True if `stat` may be up to 2 s old, as of the kernel's latest flush, because the kernel
    /// printed no report of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stat_is_stale: bool,
}

/// A level of the limit chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitLevel {
    /// The cgroup of this level.
    #[serde(flatten)]
    pub cgroup: Cgroup,
    /// Usage: memory.current (v1: memory.usage_in_bytes), bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Limit: memory.max (v1: memory.limit_in_bytes), bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// True if memory.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_limit: bool,
    /// Throttling limit: memory.high, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// True if memory.high is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub high_no_limit: bool,
    /// Best-effort protection: memory.low, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<u64>,
    /// True if memory.low is "max", so all usage is protected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub low_no_limit: bool,
    /// Hard protection: memory.min, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    /// True if memory.min is "max", so all usage is protected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub min_no_limit: bool,
    /// Swap usage: memory.swap.current, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// Swap limit: memory.swap.max, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max_bytes: Option<u64>,
    /// True if memory.swap.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub swap_no_limit: bool,
    /// cgroup v1 only: usage of memory and swap together, memory.memsw.usage_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// cgroup v1 only: limit of memory and swap together, memory.memsw.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_max_bytes: Option<u64>,
    /// cgroup v1 only: true if memory and swap together have no limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub memsw_no_limit: bool,
    /// cgroup v1 only: kernel memory charged to the cgroup, memory.kmem.usage_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_usage_bytes: Option<u64>,
    /// cgroup v1 only: limit of the kernel memory, memory.kmem.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_max_bytes: Option<u64>,
    /// cgroup v1 only: true if the kernel memory has no limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kmem_no_limit: bool,
    /// memory.max minus usage, bytes; absent without a limit, and at the level that was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom_bytes: Option<u64>,
    /// True for the level whose limit was hit.
    pub hit: bool,
}
