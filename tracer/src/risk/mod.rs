//! Cgroups with a limit, how fast they grow, and which process the OOM killer would choose now.
//!
//! Reads cgroupfs and /proc, without BPF and without a daemon. If a growth recorder runs, growth
//! comes from the points that it took in the kernel.
//!
//! [`groups`], [`processes`] and `recorders` read. [`next_victim`], [`trend`] and
//! [`time_to_limit`] compute (pure). [`observer`] combines them. [`table`] and [`screen`] print.

pub(crate) mod groups;
mod names;
pub(crate) mod next_victim;
pub(crate) mod observer;
pub(crate) mod processes;
mod recorders;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod time_to_limit;
pub(crate) mod trend;

use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::observer::Observer;
use self::{groups::Pressure, next_victim::Choice, time_to_limit::Forecast};
use crate::model::report::GrowthStack;

/// Version of the output of `-o json`.
const SCHEMA: u32 = 1;

/// One line of `oomwhy risk -o json`. docs/risk.md describes the keys.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RiskReport {
    pub schema: u32,
    /// Always "risk", which distinguishes the line from a report.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The time of the reading, RFC 3339, UTC.
    pub time: Timestamp,
    /// The time of the reading on `CLOCK_BOOTTIME`, as in reports. ns.
    pub boottime_ns: u64,
    /// The growth recorder that was read; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder: Option<RecorderSeen>,
    /// Why no recorder was read, although one may be running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder_unused: Option<String>,
    /// Most urgent first.
    pub cgroups: Vec<Risk>,
}

/// A growth recorder: `oomwhy watch --growth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RecorderSeen {
    /// The tracer, in its own pid namespace.
    pub pid: u64,
    /// When the recorder started.
    pub since: Timestamp,
    /// It records cgroups above this share of their limit. Percent.
    pub above_percent: u64,
    /// How many more run. Of those that have a cgroup, the newest is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<usize>,
}

/// The source of a cgroup's growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrowthSource {
    /// The points of a growth recorder and the readings.
    Recorder,
    /// The readings only.
    Readings,
}

/// A cgroup that has a limit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Risk {
    /// Path from the root of its hierarchy.
    pub path: String,
    /// From memory.current (v1: memory.usage_in_bytes).
    pub usage_bytes: u64,
    /// From memory.max (v1: memory.limit_in_bytes).
    pub limit_bytes: u64,
    /// Limit minus usage.
    pub headroom_bytes: u64,
    /// File cache and slab that the kernel would reclaim before it kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable_bytes: Option<u64>,
    /// The memory that the limit must hold: usage minus reclaimable memory.
    pub need_bytes: u64,
    pub source: GrowthSource,
    /// Growth of the need, bytes per second; negative if it shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes_per_s: Option<i64>,
    /// Growth of the usage, bytes per second, including reclaimable memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_growth_bytes_per_s: Option<i64>,
    /// The time over which both were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_over_s: Option<f64>,
    /// The shape of the usage curve, as in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_kind: Option<&'static str>,
    /// Since when usage has not fallen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growing_since: Option<Timestamp>,
    /// The stacks from which running processes charged most recently, largest first.
    #[serde(rename = "growers", skip_serializing_if = "Vec::is_empty")]
    pub growing: Vec<GrowthStack>,
    /// When the need would reach the limit; absent if it does not grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_limit: Option<Forecast>,
    /// Swap that the cgroup may still use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_headroom_bytes: Option<u64>,
    /// How much its tasks wait for memory; absent without PSI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// Kills so far: oom_kill of memory.events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// The process that the kernel would choose now; absent if none may be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_victim: Option<Choice>,
    /// The need at each reading so far, for a sparkline.
    #[serde(skip)]
    pub history: Vec<u64>,
}

/// A need is near its limit from this share on.
const NEAR: f64 = 0.8;
/// And very near from this share on.
const VERY_NEAR: f64 = 0.95;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Far,
    Near,
    VeryNear,
}

impl Risk {
    /// Need as a share of the limit.
    pub(crate) fn share(&self) -> f64 {
        share(self.need_bytes, self.limit_bytes)
    }

    /// How near the limit the need is, for colors.
    fn level(&self) -> Level {
        match self.share() {
            VERY_NEAR.. => Level::VeryNear,
            NEAR.. => Level::Near,
            _ => Level::Far,
        }
    }

    /// Seconds to the limit; infinite if the need does not grow.
    fn urgency(&self) -> f64 {
        self.time_to_limit.as_ref().map_or(f64::INFINITY, |forecast| forecast.likely_s)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, shown rounded")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
