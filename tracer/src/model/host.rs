//! What a report needs to know of the host. Read once at start, kept in recordings, so that a
//! replay says what the live run said.

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
    /// /proc/sys/kernel/random/boot_id
    pub boot_id: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Bytes.
    pub page_size: u64,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME`, ns, at start.
    pub realtime_offset_ns: i64,
    /// The flags of a gfp_mask on this kernel.
    pub gfp_flags: Vec<GfpFlag>,
    /// Tier that is attached.
    pub tier: Tier,
    /// Hook: how it is attached.
    pub hooks: BTreeMap<String, String>,
    /// Fields that this host cannot give, and why.
    pub missing: Vec<Missing>,
    /// The memory controller is on the unified hierarchy (cgroup v2); false: on v1, where the
    /// second counter of a memcg is memory and swap together. `None`: not known.
    pub memory_on_v2: Option<bool>,
    /// The statistics of a memcg on this kernel.
    pub memcg_stat: Vec<StatItem>,
    /// How long a report waits for what becomes of its victims. ns.
    pub close_after_ns: u64,
}

impl Host {
    /// What can be seen to become of victims: that for which there is a hook.
    pub fn visible(&self) -> Visible {
        Visible {
            exits: self.has_hook(Hook::SchedProcessExit),
            freeing: self.has_hook(Hook::ExitMmap),
        }
    }
}
