//! The work of one boot: the plan that the host puts into the initramfs and PID 1 reads.

use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::matrix::{Extent, Kernel};
use crate::scenario::{Scenario, Step};
use crate::{scenarios, support, verified};

/// The path of the plan in the guest.
pub const GUEST_PATH: &str = "/plan.json";
/// The path of oomwhy in the guest.
pub const GUEST_OOMWHY: &str = "/oomwhy";
/// The path of a static busybox in the guest.
pub const BUSYBOX: &str = "/bin/busybox";
/// The path of bpftrace in the guest.
pub const BPFTRACE: &str = "/usr/bin/bpftrace";
/// The disk for swap. It is an NVMe disk because the cloud kernels have no other driver built in.
pub const SWAP_DEVICE: &str = "/dev/nvme0n1";
/// The path of the workload in the guest.
pub const HOG: &str = "/bin/hog";
/// The program that runs another one as a plain user or in a container.
pub const LAUNCHER: &str = "/bin/launch";
/// The guest's users.
pub const PASSWD: &[u8] = b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
/// The cgroup of programs that run as in a container.
pub const BOX: &str = "/box";
/// The console line after which the guest's own output begins.
pub const CONSOLE_BEGIN: &str = "### guest ready";
/// The file that proves that the guest reached the end of its plan.
pub const END_MARKER: &str = "end";
/// The file with the reason why the plan could not be carried out.
pub const ERROR_FILE: &str = "error.txt";

/// The work of one boot.
#[derive(Debug, Deserialize, Serialize)]
pub enum Plan {
    /// Run scenarios, one after another.
    Scenarios {
        /// The names of the scenarios.
        names: Vec<String>,
        /// Whether scenarios with the same options share one oomwhy.
        share_tracers: bool,
    },
    /// Copy the facts of this kernel: BTF, symbols, formats of tracepoints.
    HostFacts,
    /// Show one kill live on the console.
    Demo {
        /// Reports as JSON instead of text.
        json: bool,
        /// Whether the console is a terminal.
        color: bool,
    },
    /// Measure the costs of oomwhy.
    Bench(Bench),
    /// Run one command on the console.
    Command(Vec<String>),
}

impl Plan {
    /// Whether it starts a Python program.
    pub fn needs_python(&self) -> bool {
        let mut works = self.scenarios().flat_map(Scenario::processes).map(|process| process.work);
        works.any(|work| !work.words_before().is_empty()) || self.makes_attempts()
    }

    /// Whether it runs the scripts of `tests/hostile`.
    pub fn makes_attempts(&self) -> bool {
        let mut steps = self.scenarios().flat_map(|scenario| scenario.steps);
        steps.any(|step| matches!(step, Step::Attempts(_)))
    }

    /// Whether it starts bpftrace.
    pub fn needs_bpftrace(&self) -> bool {
        let is_it = |step: &Step| matches!(step, Step::Peer(peer) if peer.argv[0] == BPFTRACE);
        self.scenarios().any(|scenario| scenario.steps.iter().any(is_it))
    }

    fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> {
        let names = match self {
            Self::Scenarios { names, .. } => names.as_slice(),
            _ => &[],
        };
        names.iter().filter_map(|name| scenarios::find(name))
    }
}

/// One boot of the matrix.
#[derive(Debug)]
pub struct Boot {
    /// The directory its results go to, below the kernel's.
    pub name: &'static str,
    /// The machine's memory.
    pub memory_mib: u32,
    /// Parameters that are added to the kernel's command line.
    pub cmdline: &'static str,
    /// Arguments that are added to QEMU's command line.
    pub qemu_args: &'static [&'static str],
    /// The size of a disk that scenarios may use for swap, [`SWAP_DEVICE`].
    pub swap_mib: u64,
    /// The scenarios that it runs.
    pub scenarios: &'static [&'static str],
    /// Whether it needs the v1 memory controller.
    needs_cgroup_v1: bool,
    /// The names of the kernels that get it; all if empty.
    kernels: &'static [&'static str],
    runs: Runs,
}

/// When a boot runs, if no boot is named on the command line. One that is named always runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Runs {
    Always,
    /// In each run on these kernels, on others only in the whole matrix.
    AlwaysOn(&'static [&'static str]),
    /// Only in the whole matrix.
    InWholeMatrix,
    /// Never, because it takes too long: only a proof names it.
    IfNamed,
}

impl Boot {
    /// The scenarios that it runs on a kernel.
    pub fn scenarios_on(&self, kernel: &Kernel) -> impl Iterator<Item = &'static str> {
        self.scenarios.iter().copied().filter(|scenario| kernel.runs(scenario))
    }
}

/// Without mitigations of CPU bugs the emulation takes 4 % less CPU time. `tiers` keeps them, so
/// that every attach method is tested with them.
const PLAIN: Boot = Boot {
    name: "",
    memory_mib: 512,
    cmdline: "mitigations=off",
    qemu_args: &[],
    swap_mib: 0,
    scenarios: &[],
    needs_cgroup_v1: false,
    kernels: &[],
    runs: Runs::Always,
};

/// The longest boots are first, so boots that run side by side end at about the same time. A boot
/// takes three seconds before its first scenario, so scenarios with the same machine share one.
const BOOTS: &[Boot] = &[
    // Many kills, and probes that outlive the tracer.
    Boot {
        name: "storms",
        memory_mib: 768,
        scenarios: &[
            "score_readers",
            "watchers",
            "crowd",
            "equals",
            "two_at_once",
            "small_ring",
            "many_in_a_row",
            "hundred_in_a_row",
            "restarts",
            "few_restarts",
            "left_behind",
            "pinned_tier",
            "grown_meanwhile",
            "secrets",
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
            "next_victim",
            "vfork_child",
            "pid_namespace",
            "zombies",
            "hostile_comm",
            "kmsg_tier",
            "already_exiting",
            "lowered_limit",
            "no_victim",
            "same_text",
            "same_text_kprobe",
            // User stacks.
            "stacks",
            "stacks_of_two",
            // Privileges, container, self-test.
            "self_test",
            "privileges",
            "container",
        ],
        ..PLAIN
    },
    // Attempts to make oomwhy harm its host. Helper processes that hang have a shorter deadline
    // than elsewhere, because many do.
    Boot {
        name: "hostile",
        memory_mib: 1024,
        cmdline: "mitigations=off OOMWHY_HELPER_DEADLINE_FACTOR=5",
        scenarios: &["hostile_container", "hostile_user"],
        kernels: &["5.10", "6.12", "7.3"],
        runs: Runs::AlwaysOn(&["6.12"]),
        ..PLAIN
    },
    // The growth of memory, per function.
    Boot {
        name: "growth",
        memory_mib: 1024,
        // A program fills the page cache of a disk.
        swap_mib: 64,
        scenarios: &[
            "grown_below",
            "shapes",
            "alloc_fixed",
            "alloc_fixed_in_huge_pages",
            "forecast",
        ],
        ..PLAIN
    },
    // Twenty upgrades take two to three minutes, so only the oldest and the newest kernel do them.
    Boot {
        name: "upgrades",
        memory_mib: 768,
        scenarios: &["upgrades", "few_upgrades"],
        kernels: &["5.10", "7.3"],
        ..PLAIN
    },
    // 10,000 processes take half a minute to start, so only the oldest and the newest kernel do it.
    Boot {
        name: "multitude",
        memory_mib: 3072,
        scenarios: &["multitude", "thousands"],
        kernels: &["5.10", "7.3"],
        ..PLAIN
    },
    // 9,001 processes take minutes to start and to kill. All kernels count with the same code.
    Boot {
        name: "lost-kills",
        memory_mib: 3072,
        scenarios: &["lost_kills"],
        kernels: &["5.10"],
        runs: Runs::InWholeMatrix,
        ..PLAIN
    },
    // Hundreds of kills at once. Every kill must have a report.
    Boot {
        name: "burst",
        memory_mib: 1024,
        scenarios: &["maps", "burst", "burst_kprobe", "big_group"],
        kernels: &["5.10", "6.12", "7.3"],
        ..PLAIN
    },
    Boot {
        name: "burst-of-10000",
        memory_mib: 1024,
        scenarios: &["burst_of_10000", "burst_of_10000_kprobe"],
        kernels: &["5.10", "6.12", "7.3"],
        runs: Runs::IfNamed,
        ..PLAIN
    },
    // Memory must not depend on the number of possible CPUs.
    Boot {
        name: "cpus",
        qemu_args: &["-smp", "2,maxcpus=255"],
        scenarios: &["maps_of_255_cpus"],
        // From 6.9 on, a kernel accepts so many possible CPUs only from a hypervisor that it knows.
        // 5.10 does not list ring buffers in /proc/vmallocinfo.
        kernels: &["6.1"],
        ..PLAIN
    },
    // 100,000 new cgroups take a minute, so only the oldest and the newest kernel make them.
    Boot {
        name: "new-cgroups",
        scenarios: &[
            "new_cgroups",
            "few_new_cgroups",
            "new_cgroups_pinned",
            "few_new_cgroups_pinned",
        ],
        kernels: &["5.10", "7.3"],
        ..PLAIN
    },
    // Kills because the whole machine, which has little memory, runs out of it.
    Boot {
        name: "machine",
        memory_mib: 384,
        cmdline: "mitigations=off swapaccount=1",
        swap_mib: 64,
        // The scenarios without swap are first.
        scenarios: &[
            "sysrq",
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
    // A controller belongs to one hierarchy at a time, so v1 has its own boot.
    Boot {
        name: "v1",
        cmdline: "mitigations=off swapaccount=1",
        swap_mib: 64,
        scenarios: &["memcg_v1", "memcg_v1_swap", "disabled", "forecast_v1", "self_test_v1"],
        needs_cgroup_v1: true,
        ..PLAIN
    },
    // Secure boot sets lockdown=integrity, with which all tiers work.
    Boot {
        name: "tiers",
        memory_mib: 768,
        cmdline: "lockdown=integrity",
        scenarios: &["tiers_memcg", "tiers_global", "coexistence", "nothing_mounted"],
        ..PLAIN
    },
    // bpftrace and its libraries have 200 MiB, in the initramfs and once more when it is unpacked.
    Boot {
        name: "bpftrace",
        memory_mib: 1536,
        scenarios: &["bpftrace", "bpftrace_kprobe"],
        kernels: &["5.10", "6.12", "7.3"],
        runs: Runs::InWholeMatrix,
        ..PLAIN
    },
    Boot {
        name: "lockdown",
        cmdline: "mitigations=off lockdown=confidentiality",
        scenarios: &["lockdown"],
        ..PLAIN
    },
];

/// The boots of a kernel: those with these names, or all if none is named.
pub fn boots(kernel: &Kernel, names: &[String]) -> impl Iterator<Item = &'static Boot> {
    let (cgroup_v1, is_whole) = (kernel.cgroup_v1, kernel.extent() == Extent::Whole);
    BOOTS
        .iter()
        .filter(move |boot| cgroup_v1 || !boot.needs_cgroup_v1)
        .filter(|boot| boot.scenarios_on(kernel).next().is_some())
        .filter(|boot| boot.kernels.is_empty() || boot.kernels.contains(&kernel.name.as_str()))
        .filter(move |boot| match names {
            [] => match boot.runs {
                Runs::Always => true,
                Runs::AlwaysOn(names) => is_whole || names.contains(&kernel.name.as_str()),
                Runs::InWholeMatrix => is_whole,
                Runs::IfNamed => false,
            },
            names => names.iter().any(|name| name == boot.name),
        })
}

/// The index of a boot in the list of all boots, which is in the order of their duration.
pub fn rank(boot: &Boot) -> Option<usize> {
    BOOTS.iter().position(|it| it.name == boot.name)
}

/// The number of comparisons that `cargo xtask test` makes with the boots of a kernel.
pub fn n_comparisons(kernel: &Kernel) -> usize {
    let of_boot = |boot: &Boot| {
        // The support table and the verified walks are compared with the results of these boots.
        boot.scenarios_on(kernel).count()
            + usize::from(boot.name == support::BOOT)
            + usize::from(verified::scenario(kernel, boot.name).is_some())
    };
    boots(kernel, &[]).map(of_boot).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn boot_for_some_kernels_names_known_kernels() {
        let known = crate::matrix::kernels().unwrap();
        for name in BOOTS.iter().flat_map(|boot| boot.kernels) {
            assert!(known.iter().any(|kernel| kernel.name == *name), "{name}");
        }
    }

    #[test]
    fn plan_with_python_program_needs_python() {
        let needs = |names: &[&str]| {
            let names = names.iter().copied().map(str::to_owned).collect();
            Plan::Scenarios { names, share_tracers: false }.needs_python()
        };
        assert!(needs(&["memcg_v2", "alloc_fixed"]) && needs(&["alloc_fixed_in_huge_pages"]));
        assert!(!needs(&["stacks", "memcg_v2"]) && !Plan::HostFacts.needs_python());
    }

    #[test]
    fn plan_with_bpftrace_needs_it_and_the_whole_matrix_has_it() {
        let needs = |name: &str| {
            let names = vec![name.to_owned()];
            Plan::Scenarios { names, share_tracers: false }.needs_bpftrace()
        };
        assert!(needs("bpftrace_kprobe") && !needs("coexistence"));
        let has = |extent, names: &[String]| {
            let kernels = crate::matrix::select(&["7.3".to_owned()], extent).unwrap();
            boots(&kernels[0], names).any(|boot| boot.name == "bpftrace")
        };
        assert!(has(Extent::Whole, &[]) && !has(Extent::Short, &[]));
        assert!(has(Extent::Short, &["bpftrace".to_owned()]));
    }

    #[test]
    fn scenario_is_in_exactly_one_boot() {
        let booted: Vec<&str> = BOOTS.iter().flat_map(|boot| boot.scenarios).copied().collect();
        let known: BTreeSet<&str> = scenarios::all().map(|scenario| scenario.name).collect();
        assert_eq!(booted.len(), known.len());
        assert_eq!(booted.into_iter().collect::<BTreeSet<_>>(), known);
    }
}
