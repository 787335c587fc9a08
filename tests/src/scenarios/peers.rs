//! Other tracers beside oomwhy, attached to the functions that it traces. Each of them must see
//! every kill, with oomwhy and without it. oomwhy must report the kills that happen while it
//! traces.

use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER};
use crate::plan::BPFTRACE;
use crate::scenario::{Comparison, Peer, Scenario, Step};

pub(super) const ALL: &[Scenario] = &[
    Scenario { name: "bpftrace", ..KILLS },
    Scenario { name: "bpftrace_kprobe", options: &["--attach", "kprobe"], ..KILLS },
];

const THREE_KILLS: Step = Step::Repeat { times: 3, steps: &[START_HOG] };

const KILLS: Scenario = Scenario {
    victims: &[("hog", 9)],
    steps: &[
        CONTAINER_OF_48_MIB,
        START_SLEEPER,
        // The kernel prints at most ten reports in five seconds.
        Step::Rest { seconds: 6 },
        // It is attached after oomwhy, then alone, then before oomwhy.
        Step::Peer(BPFTRACE_PEER),
        THREE_KILLS,
        Step::StopTracer,
        THREE_KILLS,
        Step::StartTracer,
        Step::AwaitTracer,
        THREE_KILLS,
    ],
    comparison: Comparison::Peers,
    ..ONE_KILL
};

/// The kernel enters `out_of_memory` also while a victim is dying.
const BPFTRACE_PEER: Peer = Peer {
    name: "bpftrace",
    // Probes are attached one after another, so a line of `BEGIN` does not prove that all are.
    // The program of `-c` is started after the last one. It prints its file and then waits.
    argv: &[
        BPFTRACE,
        "-c",
        "/bin/busybox tail -f /etc/passwd",
        "-e",
        "kprobe:out_of_memory { printf(\"kprobe out_of_memory\\n\"); } \
         kprobe:oom_kill_process { printf(\"kprobe oom_kill_process\\n\"); } \
         fentry:out_of_memory { printf(\"fentry out_of_memory\\n\"); } \
         fentry:oom_kill_process { printf(\"fentry oom_kill_process\\n\"); }",
    ],
    ready: "root:",
    lines: &[
        ("kprobe out_of_memory", 9, usize::MAX),
        ("kprobe oom_kill_process", 9, 9),
        ("fentry out_of_memory", 9, usize::MAX),
        ("fentry oom_kill_process", 9, 9),
    ],
};
