//! What grew before the invocation.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Frame;

/// What grew before the invocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Start of the observation, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// How fast usage grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<GrowthRate>,
    /// Shape of the curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Usage over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<GrowthPoint>,
    /// Who touched the memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<GrowthStack>,
    /// Share of the bytes whose stack was unwound, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwound_share: Option<f64>,
}

/// How fast usage grew, bytes per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthRate {
    /// In the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_minute: Option<i64>,
    /// Over the whole curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<i64>,
}

/// A point of the usage curve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthPoint {
    /// CLOCK_BOOTTIME, ns.
    pub t_ns: u64,
    /// Usage then.
    pub usage_bytes: u64,
    /// Limit then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

/// Bytes charged by one process from one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthStack {
    /// Charged.
    pub bytes: u64,
    /// Process; absent where the memory was charged on behalf of another cgroup than the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its name; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Where in user space, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// Where in the kernel, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<Frame>>,
}
