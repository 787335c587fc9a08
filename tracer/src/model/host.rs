//! The facts about the host that a report needs. They are read once at the start and kept in
//! recordings, so that a replay makes the same reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    gfp::GfpFlag,
    hook::Hook,
    memcg_stat::StatItem,
    reap_and_exit::Visible,
    report::{Missing, Tier},
};

/// Facts of the host and of how the probes are attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Content of /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<String>,
    /// Content of /proc/sys/kernel/hostname.
    pub hostname: Option<String>,
    /// Kernel release, as in `uname -r`.
    pub kernel: Option<String>,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` at the start, ns.
    pub realtime_offset_ns: i64,
    /// The flags of a gfp_mask on this kernel.
    pub gfp_flags: Vec<GfpFlag>,
    /// The tier of the attached probes.
    pub tier: Tier,
    /// How each hook is attached.
    pub hooks: BTreeMap<String, String>,
    /// Fields that this host cannot give, and why.
    pub missing: Vec<Missing>,
    /// The memory controller is on the unified hierarchy (cgroup v2); false: on v1, where the
    /// second counter of a memcg is memory and swap together. `None` if unknown.
    pub memory_on_v2: Option<bool>,
    /// The statistics of a memcg on this kernel.
    pub memcg_stat: Vec<StatItem>,
    /// How long a report waits for its victims to be gone, ns.
    pub close_after_ns: u64,
}

impl Host {
    /// A host of which nothing but the tier is known. Numbers are 0.
    pub fn of_tier(tier: Tier) -> Self {
        Self {
            boot_id: None,
            hostname: None,
            kernel: None,
            page_size: 0,
            realtime_offset_ns: 0,
            gfp_flags: Vec::new(),
            tier,
            hooks: BTreeMap::new(),
            missing: Vec::new(),
            memory_on_v2: None,
            memcg_stat: Vec::new(),
            close_after_ns: 0,
        }
    }

    /// Which steps of a victim's end have a hook on this host.
    pub fn visible(&self) -> Visible {
        Visible {
            exits: self.has_hook(Hook::SchedProcessExit),
            freeing: self.has_hook(Hook::ExitMmap),
        }
    }
}
