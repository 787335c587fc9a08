//! What one boot shall do: the plan that the host puts into the initramfs and PID 1 reads.

use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::matrix::Kernel;

/// Where the plan lies in the guest.
pub const GUEST_PATH: &str = "/plan.json";
/// Where oomwhy lies in the guest.
pub const GUEST_OOMWHY: &str = "/oomwhy";
/// The console line after which the guest's own output begins.
pub const CONSOLE_BEGIN: &str = "### guest ready";
/// The file that proves that the guest reached the end of its plan.
pub const END_MARKER: &str = "end";
/// The file that says why the plan could not be carried out.
pub const ERROR_FILE: &str = "error.txt";

/// The work of one boot.
#[derive(Debug, Deserialize, Serialize)]
pub enum Plan {
    /// Run these scenarios, one after another.
    Scenarios(Vec<String>),
    /// Carry out what this kernel says about itself.
    HostFacts,
    /// Show one kill live on the console.
    Demo {
        /// Reports as JSON instead of text.
        json: bool,
        /// Whether somebody watches on a terminal.
        color: bool,
    },
    /// Measure what oomwhy costs.
    Bench(Bench),
    /// Run one command on the console.
    Command(Vec<String>),
}

/// One boot of the matrix.
#[derive(Debug)]
pub struct Boot {
    /// The directory its results go to, below the kernel's.
    pub name: &'static str,
    /// The machine's memory.
    pub memory_mib: u32,
    /// What is added to the kernel's command line.
    pub cmdline: &'static str,
    /// The scenarios it runs.
    pub scenarios: &'static [&'static str],
    /// Whether it needs the v1 memory controller.
    needs_cgroup_v1: bool,
}

const BOOTS: &[Boot] = &[
    Boot {
        name: "main",
        memory_mib: 512,
        cmdline: "",
        // The global one comes last: it leaves little of the machine.
        scenarios: &[
            "memcg_v2",
            "nested_limit",
            "deep_path",
            "trigger_is_not_victim",
            "twenty_in_a_row",
            "global",
        ],
        needs_cgroup_v1: false,
    },
    // A controller belongs to one hierarchy at a time, so v1 has a boot of its own.
    Boot {
        name: "v1",
        memory_mib: 512,
        cmdline: "",
        scenarios: &["memcg_v1"],
        needs_cgroup_v1: true,
    },
    Boot {
        name: "lockdown",
        memory_mib: 512,
        cmdline: "lockdown=confidentiality",
        scenarios: &["lockdown"],
        needs_cgroup_v1: false,
    },
];

/// The boots that one kernel gets.
pub fn boots(kernel: &Kernel) -> impl Iterator<Item = &'static Boot> {
    let cgroup_v1 = kernel.cgroup_v1;
    BOOTS.iter().filter(move |boot| cgroup_v1 || !boot.needs_cgroup_v1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_scenario_has_exactly_one_boot() {
        let booted: Vec<&str> = BOOTS.iter().flat_map(|boot| boot.scenarios).copied().collect();
        let known: BTreeSet<&str> =
            crate::scenarios::ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(booted.len(), known.len());
        assert_eq!(booted.into_iter().collect::<BTreeSet<_>>(), known);
    }
}
