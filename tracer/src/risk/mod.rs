//! Who is next: cgroups near their limit, how fast they grow, and whom the OOM killer would take
//! there now. From cgroupfs and /proc alone, without BPF and without a daemon.
//!
//! [`groups`] and [`processes`] read, [`points`] and [`forecast`] conclude (pure), [`table`] and
//! [`screen`] show.

pub mod forecast;
pub mod groups;
pub mod points;
pub mod processes;
pub mod screen;
pub mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use self::{
    forecast::{Forecast, Sample},
    groups::{Group, Groups, Pressure},
    points::Choice,
    processes::Swap,
};
use crate::kernel::files::{CgroupMounts, Root};

/// Version of what `-o json` prints.
const SCHEMA: u32 = 1;

/// Readings kept of each cgroup: the width of a sparkline.
const KEPT: usize = 60;

/// What `oomwhy risk -o json` prints: one object a line.
#[derive(Clone, Debug, Serialize)]
pub struct Outlook {
    /// Version of this shape: 1.
    pub schema: u32,
    /// "risk".
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it was read, RFC 3339, UTC.
    pub time: Timestamp,
    /// Most urgent first.
    pub cgroups: Vec<Risk>,
}

/// One cgroup that has a limit.
#[derive(Clone, Debug, Serialize)]
pub struct Risk {
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
    /// How fast the need grows, bytes a second; negative where it shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes_per_s: Option<i64>,
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
    pub fn share(&self) -> f64 {
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

/// Reads again and again, and remembers.
#[derive(Debug)]
pub struct Observer {
    root: Root,
    mounts: CgroupMounts,
    samples: BTreeMap<String, Vec<Sample>>,
}

impl Observer {
    /// Looks at the cgroups of this host.
    pub fn new(root: Root, mounts: CgroupMounts) -> Self {
        Self { root, mounts, samples: BTreeMap::new() }
    }

    /// Reads usage and limits; `at_ns` is any monotonic clock. Cgroups that are gone are forgotten.
    pub fn sample(&mut self, at_ns: u64) -> Groups {
        let groups = groups::read(&self.root, &self.mounts);
        self.samples.retain(|path, _| groups.limited.iter().any(|group| group.path == *path));
        for group in &groups.limited {
            let samples = self.samples.entry(group.path.clone()).or_default();
            samples.push(Sample { at_ns, need_bytes: group.need_bytes() });
            if samples.len() > KEPT {
                samples.remove(0);
            }
        }
        groups
    }

    /// Reads once more and concludes.
    pub fn outlook(&mut self, at_ns: u64, wanted: impl Fn(&str) -> bool) -> Outlook {
        let swap = processes::swap(&self.root);
        let groups = self.sample(at_ns);
        let mut cgroups: Vec<Risk> = groups
            .limited
            .iter()
            .filter(|group| wanted(&group.path))
            .map(|group| self.risk(group, &groups.oom_groups, swap))
            .collect();
        cgroups.sort_by(|a, b| {
            a.urgency().total_cmp(&b.urgency()).then(b.share().total_cmp(&a.share()))
        });
        Outlook { schema: SCHEMA, kind: "risk", time: Timestamp::now(), cgroups }
    }

    fn risk(&self, group: &Group, oom_groups: &[String], swap: Swap) -> Risk {
        let samples = self.samples.get(&group.path).map_or(&[][..], Vec::as_slice);
        let tasks = processes::below(&self.root, &group.directory);
        let choice = points::choose(&tasks, group.totalpages(swap));
        Risk {
            path: group.path.clone(),
            usage_bytes: group.usage_bytes,
            limit_bytes: group.limit_bytes,
            headroom_bytes: group.limit_bytes.saturating_sub(group.usage_bytes),
            reclaimable_bytes: group.reclaimable_bytes,
            need_bytes: group.need_bytes(),
            growth_bytes_per_s: forecast::rate(samples),
            time_to_limit: forecast::forecast(samples, group.limit_bytes),
            swap_headroom_bytes: group.swap_headroom(swap),
            pressure: group.pressure,
            oom_kills: group.oom_kills,
            next_victim: choice.map(|choice| choice.with_group(&group.path, oom_groups)),
            history: samples.iter().map(|sample| sample.need_bytes).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
