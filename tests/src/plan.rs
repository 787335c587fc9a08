//! What one boot shall do: the plan that the host puts into the initramfs and PID 1 reads.

use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::matrix::Kernel;
use crate::scenario::Scenario;
use crate::scenarios;

/// Where the plan lies in the guest.
pub const GUEST_PATH: &str = "/plan.json";
/// Where oomwhy lies in the guest.
pub const GUEST_OOMWHY: &str = "/oomwhy";
/// A static busybox in the guest, for what takes a tool.
pub const BUSYBOX: &str = "/bin/busybox";
/// The disk for swap: the cloud kernels have no other driver built in.
pub const SWAP_DEVICE: &str = "/dev/nvme0n1";
/// Where the workload lies in the guest.
pub const HOG: &str = "/bin/hog";
/// The program that runs another as somebody else.
pub const LAUNCHER: &str = "/bin/launch";
/// The guest's users.
pub const PASSWD: &[u8] = b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
/// The cgroup of what runs as in a container.
pub const BOX: &str = "/box";
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

impl Plan {
    /// Whether a program that it starts is a Python's.
    pub fn needs_python(&self) -> bool {
        let Self::Scenarios(names) = self else { return false };
        let scenarios = names.iter().filter_map(|name| scenarios::find(name));
        let mut works = scenarios.flat_map(Scenario::processes).map(|process| process.work);
        works.any(|work| !work.words_before().is_empty())
    }
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
    /// What is added to QEMU's.
    pub qemu_args: &'static [&'static str],
    /// The size of a disk that scenarios may use for swap, [`SWAP_DEVICE`].
    pub swap_mib: u64,
    /// The scenarios it runs.
    pub scenarios: &'static [&'static str],
    /// Whether it needs the v1 memory controller.
    needs_cgroup_v1: bool,
    /// The only kernels that get it, by name; all if empty.
    kernels: &'static [&'static str],
}

impl Boot {
    /// The scenarios that it runs on a kernel.
    pub fn scenarios_on(&self, kernel: &Kernel) -> impl Iterator<Item = &'static str> {
        self.scenarios.iter().copied().filter(|scenario| kernel.runs(scenario))
    }
}

const PLAIN: Boot = Boot {
    name: "",
    memory_mib: 512,
    cmdline: "",
    qemu_args: &[],
    swap_mib: 0,
    scenarios: &[],
    needs_cgroup_v1: false,
    kernels: &[],
};

const BOOTS: &[Boot] = &[
    // The longest first: what runs side by side then ends together.
    Boot {
        name: "storms",
        memory_mib: 768,
        scenarios: &[
            "score_readers",
            "watchers",
            "crowd",
            "two_at_once",
            "small_ring",
            "many_in_a_row",
        ],
        ..PLAIN
    },
    Boot {
        name: "main",
        scenarios: &[
            "memcg_v2",
            "nested_limit",
            "deep_path",
            "trigger_is_not_victim",
            "oom_group",
            "leader_exited",
            "foretold",
            "vfork_child",
            "pid_namespace",
            "init_is_passed_over",
            "hostile_comm",
            "hostile_cgroup",
            "long_names",
            "kmsg_tier",
            "already_exiting",
            "lowered_limit",
            "no_victim",
        ],
        ..PLAIN
    },
    // Functions in user space.
    Boot { name: "stacks", scenarios: &["stacks", "stacks_of_two"], ..PLAIN },
    // Ten thousand processes take half a minute to make: on the oldest kernel and the newest.
    Boot {
        name: "multitude",
        memory_mib: 3072,
        scenarios: &["multitude"],
        kernels: &["5.10", "7.3"],
        ..PLAIN
    },
    // Probes that outlive the tracer.
    Boot {
        name: "pins",
        memory_mib: 768,
        scenarios: &[
            "restarts",
            "upgrades",
            "left_behind",
            "pinned_tier",
            "grown_meanwhile",
            "secrets",
        ],
        ..PLAIN
    },
    // The machine runs out: what is left of it is little.
    Boot {
        name: "machine",
        memory_mib: 384,
        cmdline: "swapaccount=1",
        swap_mib: 64,
        // Those without swap first.
        scenarios: &[
            "sysrq",
            "kmsg_tier_global",
            "global",
            "will_free_mem",
            "allocating_task",
            "memcg_swap",
            "global_swap",
        ],
        ..PLAIN
    },
    Boot {
        name: "numa",
        qemu_args: &[
            "-object",
            "memory-backend-ram,id=m0,size=320M",
            "-object",
            "memory-backend-ram,id=m1,size=192M",
            "-numa",
            "node,nodeid=0,cpus=0-1,memdev=m0",
            "-numa",
            "node,nodeid=1,memdev=m1",
        ],
        scenarios: &["cpuset", "memory_policy"],
        ..PLAIN
    },
    // What grew, and from where.
    Boot {
        name: "growth",
        memory_mib: 1024,
        // A disk, whose page cache is filled.
        swap_mib: 64,
        scenarios: &["grown_below", "shapes", "taken", "taken_in_huge_pages", "outlook"],
        ..PLAIN
    },
    // Who runs it, and where.
    Boot { name: "hosts", scenarios: &["self_test", "privileges", "container"], ..PLAIN },
    // A controller belongs to one hierarchy at a time, so v1 has a boot of its own.
    Boot {
        name: "v1",
        cmdline: "swapaccount=1",
        swap_mib: 64,
        scenarios: &["memcg_v1", "memcg_v1_swap", "disabled", "outlook_v1", "self_test_v1"],
        needs_cgroup_v1: true,
        ..PLAIN
    },
    // Integrity is what secure boot turns on: all tiers work.
    Boot {
        name: "tiers",
        memory_mib: 768,
        cmdline: "lockdown=integrity",
        scenarios: &["tiers_memcg", "tiers_global", "nothing_mounted"],
        ..PLAIN
    },
    Boot {
        name: "lockdown",
        cmdline: "lockdown=confidentiality",
        scenarios: &["lockdown"],
        ..PLAIN
    },
];

/// The boots that one kernel gets, of those with these names, or of all if none is named.
pub fn boots(kernel: &Kernel, names: &[String]) -> impl Iterator<Item = &'static Boot> {
    let cgroup_v1 = kernel.cgroup_v1;
    BOOTS
        .iter()
        .filter(move |boot| cgroup_v1 || !boot.needs_cgroup_v1)
        .filter(|boot| boot.scenarios_on(kernel).next().is_some())
        .filter(|boot| boot.kernels.is_empty() || boot.kernels.contains(&kernel.name.as_str()))
        .filter(move |boot| names.is_empty() || names.iter().any(|name| name == boot.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_boot_for_some_kernels_only_names_kernels_that_there_are() {
        let known = crate::matrix::kernels().unwrap();
        for name in BOOTS.iter().flat_map(|boot| boot.kernels) {
            assert!(known.iter().any(|kernel| kernel.name == *name), "{name}");
        }
    }

    #[test]
    fn an_interpreter_is_needed_where_a_program_of_its_language_is_started() {
        let needs = |names: &[&str]| {
            Plan::Scenarios(names.iter().copied().map(str::to_owned).collect()).needs_python()
        };
        assert!(needs(&["memcg_v2", "taken"]) && needs(&["taken_in_huge_pages"]));
        assert!(!needs(&["stacks", "memcg_v2"]) && !Plan::HostFacts.needs_python());
    }

    #[test]
    fn every_scenario_has_exactly_one_boot() {
        let booted: Vec<&str> = BOOTS.iter().flat_map(|boot| boot.scenarios).copied().collect();
        let known: BTreeSet<&str> = scenarios::all().map(|scenario| scenario.name).collect();
        assert_eq!(booted.len(), known.len());
        assert_eq!(booted.into_iter().collect::<BTreeSet<_>>(), known);
    }
}
