//! The same kill traced by every tier side by side, and hosts without some tiers.

use super::machine::{MACHINE, holder};
use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER, WATCHER};
use crate::scenario::{Scenario, Step, Until, Watcher, WatcherTier};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "tiers_memcg",
        options: &["-v"],
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
    // Other tracers of every kind are attached to the same functions: trampolines, kprobes with
    // kretprobes, kprobe events, and the function tracer. The function tracer is switched on and
    // off while oomwhy's trampolines are attached.
    Scenario {
        name: "coexistence",
        victims: &[("hog", 10)],
        options: &["-v"],
        steps: &[
            FILTER_OF_FUNCTION_TRACER,
            FUNCTION_TRACER,
            KPROBE_EVENTS,
            Step::Write { file: "/sys/kernel/tracing/events/kprobes/enable", value: "1" },
            tier("fentry", &["-o", "json", "-v", "--attach", "fentry"], WatcherTier::Fentry),
            KPROBE,
            CONTAINER_OF_48_MIB,
            START_SLEEPER,
            Step::Repeat { times: 5, steps: &[START_HOG] },
            Step::Write { file: "/sys/kernel/tracing/current_tracer", value: "nop" },
            Step::Write { file: "/sys/kernel/tracing/events/kprobes/enable", value: "0" },
            Step::Repeat { times: 5, steps: &[START_HOG] },
            Step::Write { file: "/sys/kernel/tracing/kprobe_events", value: "" },
            Step::Write { file: "/sys/kernel/tracing/set_ftrace_filter", value: "" },
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

const KPROBE: Step =
    tier("kprobe", &["-o", "json", "-v", "--attach", "kprobe"], WatcherTier::Kprobe);

const TRACEPOINT: Step =
    tier("tracepoint", &["-o", "json", "-v", "--attach", "tracepoint"], WatcherTier::Tracepoint);

const FILTER_OF_FUNCTION_TRACER: Step = Step::Write {
    file: "/sys/kernel/tracing/set_ftrace_filter",
    value: "out_of_memory oom_kill_process oom_badness exit_mmap",
};

const FUNCTION_TRACER: Step =
    Step::Write { file: "/sys/kernel/tracing/current_tracer", value: "function" };

/// An entry and a return of each function.
const KPROBE_EVENTS: Step = Step::Write {
    file: "/sys/kernel/tracing/kprobe_events",
    value: "p:entry_a out_of_memory\nr:return_a out_of_memory\np:entry_b oom_kill_process\n\
            r:return_b oom_kill_process\np:entry_c oom_badness\nr:return_c oom_badness\n\
            p:entry_d exit_mmap\nr:return_d exit_mmap\n",
};

const COPY_BTF: Step = Step::Copy { from: "/sys/kernel/btf/vmlinux", to: "/tmp/btf" };

/// Hides the kernel's BTF, as on a kernel without BTF.
const HIDE_BTF: Step = Step::Mount { kind: "tmpfs", target: "/sys/kernel/btf", options: "" };

/// Without the kernel's BTF, but with a file, oomwhy uses kprobes and tracepoints without types.
const WITH_FILE: Step =
    tier("with-file", &["-o", "json", "-v", "--btf", "/tmp/btf"], WatcherTier::KprobeWithFile);

/// Without any BTF, oomwhy uses the record of the tracepoint.
const RECORD: Step = tier("record", &["-o", "json", "-v"], WatcherTier::Record);

/// Starts an oomwhy whose reports are compared with those of the first one.
const fn tier(name: &'static str, args: &'static [&'static str], attach: WatcherTier) -> Step {
    Step::Watch(Watcher { name, args, attach: Some(attach), ..WATCHER })
}
