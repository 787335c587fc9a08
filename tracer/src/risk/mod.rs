//! Who is next: cgroups near their limit, how fast they grow, and whom the OOM killer would take
//! there now. From cgroupfs and /proc alone, without BPF and without a daemon; where a growth recorder
//! runs, from the points that it took in the kernel.
//!
//! [`groups`], [`processes`] and `recorders` read, [`points`], [`trend`] and [`forecast`] conclude
//! (pure), [`observer`] puts it together, [`table`] and [`screen`] show.

pub(crate) mod forecast;
pub(crate) mod groups;
mod names;
pub(crate) mod observer;
pub(crate) mod points;
pub(crate) mod processes;
mod recorders;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod trend;

use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::observer::Observer;
use self::{forecast::Forecast, groups::Pressure, points::Choice};
use crate::model::report::GrowthStack;

/// Version of what `-o json` prints.
const SCHEMA: u32 = 1;

/// What `oomwhy risk -o json` prints: one object a line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RiskReport {
    /// Version of this shape: 1.
    pub schema: u32,
    /// "risk".
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it was read, RFC 3339, UTC.
    pub time: Timestamp,
    /// Likewise, `CLOCK_BOOTTIME`, as reports have it. ns.
    pub boottime_ns: u64,
    /// The growth recorder that was read; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder: Option<RecorderSeen>,
    /// Why none was, though one may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder_unused: Option<String>,
    /// Most urgent first.
    pub cgroups: Vec<Risk>,
}

/// A growth recorder: `oomwhy watch --growth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RecorderSeen {
    /// The tracer, as it numbers itself.
    pub pid: u64,
    /// When it began.
    pub since: Timestamp,
    /// It records from this share of a limit on, percent.
    pub above_percent: u64,
    /// Others that run: of each cgroup the newest one that has it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<usize>,
}

/// Where a cgroup's growth is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrowthSource {
    /// The points of a growth recorder, and the readings.
    Recorder,
    /// The readings alone.
    Readings,
}

/// One cgroup that has a limit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Risk {
    /// Path from the root of its hierarchy.
    pub path: String,
    /// memory.current.
    pub usage_bytes: u64,
    /// memory.max.
    pub limit_bytes: u64,
    /// What is left below it.
    pub headroom_bytes: u64,
    /// File cache and slab that the kernel would take back before it kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable_bytes: Option<u64>,
    /// usage less reclaimable: what the limit must hold.
    pub need_bytes: u64,
    /// Where the growth is from.
    pub source: GrowthSource,
    /// How fast the need grows, bytes a second; negative where it shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes_per_s: Option<i64>,
    /// Likewise the usage, with what can be reclaimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_growth_bytes_per_s: Option<i64>,
    /// The time over which both were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_over_s: Option<f64>,
    /// The shape of its curve, as in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_kind: Option<&'static str>,
    /// Since when usage has not fallen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growing_since: Option<Timestamp>,
    /// From where processes that are there have charged most, of late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub growers: Vec<GrowthStack>,
    /// When the need would reach the limit; absent where it does not grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_limit: Option<Forecast>,
    /// Swap it may still use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_headroom_bytes: Option<u64>,
    /// How much its tasks wait for memory, where the kernel tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// Kills in it so far, oom_kill of memory.events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Whom the kernel would choose now; absent where nobody may be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_victim: Option<Choice>,
    /// The need at each reading so far, for a sparkline.
    #[serde(skip)]
    pub history: Vec<u64>,
}

impl Risk {
    /// Need as a share of the limit.
    pub(crate) fn share(&self) -> f64 {
        share(self.need_bytes, self.limit_bytes)
    }

    /// Seconds to the limit; infinite where it does not grow.
    fn urgency(&self) -> f64 {
        self.time_to_limit.as_ref().map_or(f64::INFINITY, |forecast| forecast.likely_s)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
