//! The recorded growth of a memcg when the OOM killer chose a victim. Part of recordings.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{events::Counter, lru::ByteSize, report::Frame};

/// The recorded growth of a memcg. Part of recordings, so the names in JSON do not change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Usage over time, oldest first.
    pub curve: Vec<Usage>,
    /// The charged pages per process and stack, largest first.
    #[serde(rename = "places")]
    pub sites: Vec<AllocationSite>,
    /// Pages of all allocation sites, including those that were left out.
    pub pages: u64,
    /// Pages of the sites whose user stack was unwound.
    pub unwound_pages: u64,
    /// Sites of all memcgs that newer ones pushed out of the map since the start.
    pub pushed_out: u64,
    /// Charges and stacks of all memcgs that did not fit into the maps since the start.
    pub dropped: u64,
    /// Calls for all counters that the kernel did not pass to the probe since the start; `None` if
    /// the kernel does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// The delay of the reading, if it was so long that the sums include charges after the choice.
    /// ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ns: Option<u64>,
}

impl Recorded {
    /// The addresses of all kernel frames.
    pub fn kernel_ips(&self) -> BTreeSet<u64> {
        self.sites.iter().flat_map(|site| site.kernel.iter().copied()).collect()
    }
}

impl ByteSize for Recorded {
    fn byte_size(&self) -> usize {
        /// A frame with its build id.
        const FRAME_BYTES: usize = size_of::<Frame>() + 64;
        let site = |site: &AllocationSite| {
            size_of::<AllocationSite>() + site.user.len() * FRAME_BYTES + site.kernel.len() * 8
        };
        let sites = self.sites.iter().map(site).sum::<usize>();
        size_of::<Self>() + self.curve.len() * size_of::<Usage>() + sites
    }
}

/// The moment at which a process was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The time on `CLOCK_BOOTTIME`, ns.
    pub at_ns: u64,
    /// Usage and limit of its memcg, if known.
    pub memory: Option<Counter>,
}

/// A point of the usage curve. Pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The time on `CLOCK_BOOTTIME`, ns.
    pub t_ns: u64,
    /// Includes the memcgs below.
    pub usage: u64,
    /// The limit at that time.
    pub max: u64,
}

/// The pages that one process charged from one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationSite {
    /// Charged in the epoch of the choice and in the one before.
    pub pages: u64,
    /// 0 if the memory was charged to another memcg than that of the running task.
    pub tgid: i32,
    /// The task's name; untrusted.
    pub comm: Vec<u8>,
    /// Innermost first; empty if there is none. Names come later, in the findings.
    pub user: Vec<Frame>,
    /// Addresses, innermost first.
    pub kernel: Vec<u64>,
}
