//! The recorded growth of a memcg at the moment of the choice. Recordings contain it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{events::Counter, report::Frame};

/// The kernel function at which growth is recorded.
pub(crate) const HOOK: &str = "page_counter_try_charge";

/// The recorded growth of a memcg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its usage over time, oldest first.
    pub curve: Vec<Usage>,
    /// Allocation sites, the largest first.
    pub places: Vec<AllocationSite>,
    /// Pages of all allocation sites, including those that are left out.
    pub pages: u64,
    /// Pages of the sites whose user stack was unwound.
    pub unwound_pages: u64,
    /// Sites that were evicted from the map since the start, of all memcgs.
    pub pushed_out: u64,
    /// Charges and stacks for which there was no room since the start, of all memcgs.
    pub dropped: u64,
    /// Calls for which the kernel skipped the probe since the start, of all counters; `None` if it
    /// does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// Time between the choice and the reading, if it is so long that later charges count, too. ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ns: Option<u64>,
}

impl Recorded {
    /// The addresses in the kernel.
    pub fn kernel_ips(&self) -> BTreeSet<u64> {
        self.places.iter().flat_map(|place| place.kernel.iter().copied()).collect()
    }
}

/// The moment of a choice, and the counter of the memcg then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// `CLOCK_BOOTTIME`, ns.
    pub at_ns: u64,
    /// Usage and limit of the memcg.
    pub memory: Option<Counter>,
}

/// Usage at one moment. Pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// `CLOCK_BOOTTIME`, ns.
    pub t_ns: u64,
    /// Usage of the memcg and of those below it.
    pub usage: u64,
    /// The limit.
    pub max: u64,
}

/// The charges of one process from one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationSite {
    /// Charged pages, in this epoch and the one before.
    pub pages: u64,
    /// The process; 0 for charges on behalf of another memcg, by whatever task ran.
    pub tgid: i32,
    /// The task's name; untrusted.
    pub comm: Vec<u8>,
    /// Innermost first; empty if there is none. Names come later, in the findings.
    pub user: Vec<Frame>,
    /// Innermost first.
    pub kernel: Vec<u64>,
}
