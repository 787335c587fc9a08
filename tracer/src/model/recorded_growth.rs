//! What the growth recorder had of a memcg when the OOM killer chose. Kept in recordings.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{events::Counter, report::Frame};

/// What was recorded of a memcg. Kept in recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its usage over time, oldest first.
    pub curve: Vec<Usage>,
    /// Who charged it and from where, the most first.
    pub places: Vec<AllocationSite>,
    /// Pages of all places, also of those that are left out.
    pub pages: u64,
    /// Pages of those whose user stack was unwound.
    pub unwound_pages: u64,
    /// Places that were pushed out of the map since the start, of all memcgs.
    pub pushed_out: u64,
    /// Charges and stacks that found no room since the start, of all memcgs.
    pub dropped: u64,
    /// Calls that the kernel did not show the probe since the start, of all counters; `None` where it does
    /// not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// It was read so long after the choice that it is more than what there was then; ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ns: Option<u64>,
}

impl Recorded {
    /// Addresses in the kernel, each once.
    pub fn kernel_ips(&self) -> BTreeSet<u64> {
        self.places.iter().flat_map(|place| place.kernel.iter().copied()).collect()
    }
}

/// When a process was chosen, and how its memcg stood then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// `CLOCK_BOOTTIME`, ns.
    pub at_ns: u64,
    /// Usage and limit of the memcg, where they are known.
    pub memory: Option<Counter>,
}

/// Usage at one time. Pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// `CLOCK_BOOTTIME`, ns.
    pub t_ns: u64,
    /// Of the memcg and those below it.
    pub usage: u64,
    /// Its limit.
    pub max: u64,
}

/// What one process charged from one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationSite {
    /// How much, in this epoch and the one before.
    pub pages: u64,
    /// The process; 0: charged on behalf of another memcg, by whoever ran.
    pub tgid: i32,
    /// The task's name; untrusted.
    pub comm: Vec<u8>,
    /// Innermost first; empty where there is none. Names come later ([`Grower`]), into the findings.
    pub user: Vec<Frame>,
    /// Innermost first.
    pub kernel: Vec<u64>,
}
