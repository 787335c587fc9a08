//! Cgroups and their limits. A limit `K_bytes` that is set to "max" is absent, with `K_no_limit: true`
//! beside it (`no_limit` for `max_bytes`); absent without that flag means not known.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CgroupOwner, is_false};

/// A cgroup, as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// kernfs id, decimal; a string because it can pass 2^53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Path from the root of the hierarchy, "/" for the root itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// The path has more levels above than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub path_truncated: bool,
}

/// The memcg whose limit was hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OomMemcg {
    /// Which one.
    #[serde(flatten)]
    pub cgroup: Cgroup,
    /// The container, pod or unit whose limit it is.
    #[serde(flatten)]
    pub home: CgroupOwner,
    /// memory.current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// memory.max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// memory.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_limit: bool,
    /// memory.swap.current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// memory.swap.max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max_bytes: Option<u64>,
    /// memory.swap.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub swap_no_limit: bool,
    /// cgroup v1 only: memory.memsw.usage_in_bytes, memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// cgroup v1 only: memory.memsw.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_max_bytes: Option<u64>,
    /// cgroup v1 only: there is no memsw limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub memsw_no_limit: bool,
    /// cgroup v1 only: memory.kmem.usage_in_bytes, what the kernel itself uses for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_usage_bytes: Option<u64>,
    /// cgroup v1 only: memory.kmem.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_max_bytes: Option<u64>,
    /// cgroup v1 only: there is no kmem limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kmem_no_limit: bool,
    /// memory.oom.group: kill all of it, or one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
    /// memory.stat before anybody was killed, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stat: Option<BTreeMap<String, u64>>,
    /// `stat` is as old as the kernel's latest flush, up to 2 s: it printed no report of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stat_is_stale: bool,
}

/// One level of the limit chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitLevel {
    /// Which one.
    #[serde(flatten)]
    pub cgroup: Cgroup,
    /// memory.current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// memory.max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// memory.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_limit: bool,
    /// memory.high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// memory.high is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub high_no_limit: bool,
    /// memory.low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<u64>,
    /// memory.low is "max": all of it is protected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub low_no_limit: bool,
    /// memory.min.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    /// memory.min is "max": all of it is protected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub min_no_limit: bool,
    /// memory.swap.current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// memory.swap.max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max_bytes: Option<u64>,
    /// memory.swap.max is "max".
    #[serde(default, skip_serializing_if = "is_false")]
    pub swap_no_limit: bool,
    /// cgroup v1 only: memory.memsw.usage_in_bytes, memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// cgroup v1 only: memory.memsw.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_max_bytes: Option<u64>,
    /// cgroup v1 only: there is no memsw limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub memsw_no_limit: bool,
    /// cgroup v1 only: memory.kmem.usage_in_bytes, what the kernel itself uses for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_usage_bytes: Option<u64>,
    /// cgroup v1 only: memory.kmem.limit_in_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmem_max_bytes: Option<u64>,
    /// cgroup v1 only: there is no kmem limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kmem_no_limit: bool,
    /// What was left below memory.max; absent where there is no limit, and where it was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom_bytes: Option<u64>,
    /// This is the level whose limit was hit.
    pub hit: bool,
}
