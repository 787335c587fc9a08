//! The same kill traced by every tier side by side, and hosts without some tiers.

use super::machine::{MACHINE, holder};
use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER, WATCHER};
use crate::scenario::{Scenario, Step, Until, Watcher, WatcherTier};

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
    // This must be the last scenario of its boot, because nothing is mounted again.
    Scenario {
        name: "nothing_mounted",
        steps: &[
            Step::Unmount { target: "/sys/kernel/tracing" },
            Step::Unmount { target: "/sys/kernel/debug" },
            Step::Unmount { target: "/sys/fs/bpf" },
            tier("fentry", &["-o", "json"], WatcherTier::Fentry),
            KPROBE,
            HIDE_BTF,
            // Without tracefs no file describes the record of the tracepoint.
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
        // Growth cannot be recorded either, and the report has the reason.
        options: &["--growth"],
        ..ONE_KILL
    },
];

const KPROBE: Step = tier("kprobe", &["-o", "json", "--attach", "kprobe"], WatcherTier::Kprobe);

const TRACEPOINT: Step =
    tier("tracepoint", &["-o", "json", "--attach", "tracepoint"], WatcherTier::Tracepoint);

const COPY_BTF: Step = Step::Copy { from: "/sys/kernel/btf/vmlinux", to: "/tmp/btf" };

/// Hides the kernel's BTF, as on a kernel without BTF.
const HIDE_BTF: Step = Step::Mount { kind: "tmpfs", target: "/sys/kernel/btf", options: "" };

/// Without the kernel's BTF, but with a file, oomwhy uses kprobes and tracepoints without types.
const WITH_FILE: Step =
    tier("with-file", &["-o", "json", "--btf", "/tmp/btf"], WatcherTier::KprobeWithFile);

/// Without any BTF, oomwhy uses the record of the tracepoint.
const RECORD: Step = tier("record", &["-o", "json"], WatcherTier::Record);

/// Starts an oomwhy whose reports are compared with those of the first one.
const fn tier(name: &'static str, args: &'static [&'static str], attach: WatcherTier) -> Step {
    Step::Watch(Watcher { name, args, attach: Some(attach), ..WATCHER })
}
