//! The same kill seen by every tier side by side, and hosts that have not all of them.

use super::machine::{MACHINE, holder};
use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER, WATCHER};
use crate::scenario::{Means, Scenario, Step, Until, Watcher};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "tiers_memcg",
        steps: &[
            KPROBE,
            TRACEPOINT,
            COPY_BTF,
            HIDE_BTF,
            WITH_FILE,
            RECORD,
            CONTAINER_OF_48_MIB,
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "tiers_global",
        victims: &[("disposable", 1)],
        steps: &[
            KPROBE,
            TRACEPOINT,
            HIDE_BTF,
            RECORD,
            MACHINE,
            Step::Start { process: holder("holder", 0), until: Until::Ready },
            Step::Start { process: holder("disposable", 900), until: Until::Ready },
            Step::Write { file: "/proc/sysrq-trigger", value: "f" },
        ],
        ..ONE_KILL
    },
    // The last one of its boot: nothing is mounted again.
    Scenario {
        name: "nothing_mounted",
        steps: &[
            Step::Unmount { target: "/sys/kernel/tracing" },
            Step::Unmount { target: "/sys/kernel/debug" },
            Step::Unmount { target: "/sys/fs/bpf" },
            Step::Watch(Watcher {
                name: "fentry",
                args: &["-o", "json"],
                tier: Some(Means::Fentry),
                ..WATCHER
            }),
            KPROBE,
            HIDE_BTF,
            // Nothing describes the record of the tracepoint.
            Step::Refused { args: &["--attach", "tracepoint"], code: 69, says: "mount -t tracefs" },
            CONTAINER_OF_48_MIB,
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "lockdown",
        steps: &[
            Step::Refused {
                args: &["--attach", "kprobe"],
                code: 77,
                says: "lockdown=confidentiality forbids kprobes",
            },
            CONTAINER_OF_48_MIB,
            START_SLEEPER,
            START_HOG,
        ],
        // Nor can growth be recorded, and it says so.
        options: &["--growth"],
        ..ONE_KILL
    },
];

const KPROBE: Step = Step::Watch(Watcher {
    name: "kprobe",
    args: &["-o", "json", "--attach", "kprobe"],
    tier: Some(Means::Kprobe),
    ..WATCHER
});

const TRACEPOINT: Step = Step::Watch(Watcher {
    name: "tracepoint",
    args: &["-o", "json", "--attach", "tracepoint"],
    tier: Some(Means::Tracepoint),
    ..WATCHER
});

const COPY_BTF: Step = Step::Copy { from: "/sys/kernel/btf/vmlinux", to: "/tmp/btf" };

/// A kernel without BTF looks like this.
const HIDE_BTF: Step = Step::Mount { kind: "tmpfs", target: "/sys/kernel/btf", options: "" };

/// What it can do is found out: kprobes, and tracepoints without types.
const WITH_FILE: Step = Step::Watch(Watcher {
    name: "with-file",
    args: &["-o", "json", "--btf", "/tmp/btf"],
    tier: Some(Means::KprobeWithFile),
    ..WATCHER
});

/// Likewise: the record of the tracepoint.
const RECORD: Step = Step::Watch(Watcher {
    name: "record",
    args: &["-o", "json"],
    tier: Some(Means::Record),
    ..WATCHER
});
