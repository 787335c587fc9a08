//! What grew, and from where: known amounts in known functions.

use super::{HOG, ONE_KILL, WATCHER};
use crate::scenario::{Expected, Process, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

const POD: &str = "/kubepods/pod9999";
const UNLIMITED_CONTAINER: &str = "/kubepods/pod9999/ctr-any";
const GROWING_CONTAINER: &str = "/kubepods/pod5678/ctr-grow";

/// What is recorded of every kill.
const RECORDED: &[Expected] = &[Expected {
    outcome: "killed",
    count: (1, 1),
    says: &[
        ("growth.stacks[0].comm", Want::Text("hog")),
        ("growth.curve[0].limit_bytes", Want::AtLeast(1 << 20)),
        ("source.hooks.page_counter_try_charge", Want::Text("fexit")),
    ],
}];

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "grown",
        steps: &[
            Step::Write { file: HUGE_PAGES, value: "never" },
            Step::Cgroup { path: GROWING_CONTAINER, limits: &[("memory.max", "256M")] },
            START_GROWING,
        ],
        reports: RECORDED,
        options: &["--growth", "--growth-above", "0%"],
        ..ONE_KILL
    },
    Scenario {
        name: "grown_in_huge_pages",
        steps: &[
            Step::Write { file: HUGE_PAGES, value: "always" },
            Step::Cgroup { path: GROWING_CONTAINER, limits: &[("memory.max", "256M")] },
            START_GROWING,
        ],
        reports: RECORDED,
        options: &["--growth", "--growth-above", "0%"],
        ..ONE_KILL
    },
    // The limit is that of the level above, and is recorded from half of it on.
    Scenario {
        name: "grown_below",
        steps: &[
            Step::Cgroup { path: POD, limits: &[("memory.max", "96M")] },
            Step::Cgroup { path: UNLIMITED_CONTAINER, limits: &[] },
            Step::Watch(BY_KPROBE),
            Step::Start {
                process: Process { cgroup: UNLIMITED_CONTAINER, ..HOG },
                until: Until::Killed,
            },
        ],
        reports: RECORDED,
        options: &["--growth"],
        ..ONE_KILL
    },
];

/// The same by kprobes.
const BY_KPROBE: Watcher = Watcher {
    name: "kprobe",
    args: &["-o", "json", "--attach", "kprobe", "--growth", "--count", "1"],
    ends: true,
    has: &[
        "\"page_counter_try_charge\":\"kretprobe+kprobe\"",
        "\"stacks\":[{\"bytes\":",
        "\"limit_bytes\":100663296",
    ],
    ..WATCHER
};

const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// 5 times 40 MiB, and what is left of the limit.
const START_GROWING: Step = Step::Start {
    process: Process { cgroup: GROWING_CONTAINER, work: Work::Grow { mib: 40 }, ..HOG },
    until: Until::Killed,
};
