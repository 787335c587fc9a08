//! Who runs oomwhy, and where: with few capabilities, in a container, testing itself.

use super::storms::A_KILL;
use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER, WATCHER};
use crate::plan::{BOX, BUSYBOX, GUEST_OOMWHY};
use crate::scenario::{Hierarchy, Launched, Scenario, Step, Watcher};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "self_test",
        victims: &[("oomwhy-victim", 1)],
        // The parent hands the memory controller on.
        steps: &[CONTAINER_OF_48_MIB, Step::Launch(SELF_TEST)],
        ..ONE_KILL
    },
    Scenario {
        name: "self_test_v1",
        hierarchy: Hierarchy::V1,
        victims: &[("oomwhy-victim", 1)],
        steps: &[Step::Launch(SELF_TEST)],
        ..ONE_KILL
    },
    Scenario {
        name: "privileges",
        steps: &[
            refused(
                "no_capability",
                &["--user", ""],
                &["oomwhy: CAP_BPF and CAP_PERFMON are not held", "setcap"],
            ),
            refused(
                "no_perfmon",
                &["--user", "bpf"],
                &["oomwhy: CAP_PERFMON is not held", "setcap"],
            ),
            refused("no_bpf", &["--user", "perfmon"], &["oomwhy: CAP_BPF is not held", "setcap"]),
            Step::Launch(Launched {
                name: "check_no_syslog",
                launch: &["--user", "bpf,perfmon,sys_ptrace"],
                words: &[GUEST_OOMWHY, "check"],
                exit: "77",
                lines: None,
                has: &["without trigger.kernel_stack.symbol", "fix: hold CAP_SYSLOG"],
                lacks: &["CAP_BPF is not held"],
            }),
            Step::Launch(Launched {
                name: "check_all",
                launch: &["--user", "bpf,perfmon,syslog,sys_ptrace"],
                words: &[GUEST_OOMWHY, "check"],
                exit: "0",
                lines: None,
                has: &["the full report is available", "CAP_SYS_RESOURCE is not held"],
                lacks: &["fix: "],
            }),
            Step::WatchAs {
                launch: &["--user", "bpf,perfmon,syslog,sys_ptrace"],
                watcher: reports("needed", &["\"symbol\":\"out_of_memory\""], &[NO_SYMBOLS]),
            },
            Step::WatchAs {
                launch: &["--user", "bpf,perfmon"],
                watcher: reports("least", &[NO_SYMBOLS], &["\"symbol\":\"out_of_memory\""]),
            },
            CONTAINER_OF_48_MIB,
            // What was needed to attach is given up.
            Step::Launch(Launched {
                name: "given_up",
                launch: &[],
                words: &[
                    BUSYBOX,
                    "sh",
                    "-c",
                    "cd /proc; grep -h CapEff $(pidof oomwhy | sed 's:[0-9]*:&/status:g')",
                ],
                exit: "0",
                lines: Some(3),
                has: &["400080004\n"],
                lacks: &["ffff"],
            }),
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "container",
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup { path: BOX, limits: &[] },
            Step::Launch(Launched {
                name: "check_in_container",
                launch: &["--container"],
                words: &[GUEST_OOMWHY, "check"],
                exit: "0",
                lines: None,
                has: &[
                    "the full report is available",
                    "run with --pid=host",
                    "run with --cgroupns=host",
                    "mount -t tracefs none /sys/kernel/tracing",
                ],
                lacks: &["fix: "],
            }),
            Step::Launch(Launched {
                name: "self_test_in_container",
                launch: &["--container"],
                words: &[GUEST_OOMWHY, "check", "--self-test"],
                exit: "77",
                lines: Some(2),
                has: &["no self-test: ", "\nhint: "],
                lacks: &[],
            }),
            Step::WatchAs {
                launch: &["--container"],
                watcher: reports("in_container", &["\"symbol\":\"out_of_memory\""], &[NO_SYMBOLS]),
            },
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
];

const NO_SYMBOLS: &str = "{\"field\":\"trigger.kernel_stack.symbol\"";

const SELF_TEST: Launched = Launched {
    name: "self_test",
    launch: &[],
    words: &[GUEST_OOMWHY, "check", "--self-test"],
    exit: "0",
    lines: None,
    has: &[
        "traced by fentry",
        "ok     victims.pid ",
        "ok     victims.cgroup.path ",
        "ok     oom_memcg.max_bytes ",
        "ok     victims.anon_rss_bytes ",
        "the report agrees with what was done",
    ],
    lacks: &["WRONG", "not reported"],
};

/// A line that names what is missing, one with the fix, and those for the kernel log instead.
const fn refused(
    name: &'static str,
    launch: &'static [&'static str],
    has: &'static [&'static str],
) -> Step {
    let words = &[GUEST_OOMWHY];
    Step::Launch(Launched { name, launch, words, exit: "77", lines: Some(4), has, lacks: &[] })
}

/// The whole of the one kill, for a program.
const fn reports(
    name: &'static str,
    has: &'static [&'static str],
    lacks: &'static [&'static str],
) -> Watcher {
    Watcher { name, args: &["-o", "json"], lines: (A_KILL, 1, 1), has, lacks, ..WATCHER }
}
