//! What grew, and from where: known amounts in known functions.

use super::{HOG, ONE_KILL, WATCHER};
use crate::programs::number;
use crate::scenario::{Expected, Process, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

const POD: &str = "/kubepods/pod9999";
const UNLIMITED_CONTAINER: &str = "/kubepods/pod9999/ctr-any";
const GROWING_CONTAINER: &str = "/kubepods/pod5678/ctr-grow";
const TAKEN: &str = "/taken";
const STEADY: &str = "/steady";

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
    // Kinds of memory and languages; beside them one that leaks slowly.
    Scenario {
        name: "taken",
        steps: &[
            Step::Write { file: HUGE_PAGES, value: "never" },
            Step::Cgroup { path: STEADY, limits: &[("memory.max", "64M")] },
            Step::Start {
                process: Process {
                    cgroup: STEADY,
                    pause_ms: Some(170),
                    work: Work::Anon { mib: 200 },
                    ..HOG
                },
                until: Until::Started,
            },
            Step::Cgroup { path: TAKEN, limits: &[("memory.max", "464M")] },
            taker("c-takes"),
            REPORTED,
            taker("cpp-takes"),
            Step::AwaitReports { outcome: "killed", count: 3 },
        ],
        victims: &[("c-takes", 1), ("cpp-takes", 1), ("hog", 1)],
        reports: &[Expected { count: (3, 3), ..TAKEN_REPORT }],
        options: &["--growth", "--growth-above", "0%"],
        ..ONE_KILL
    },
    Scenario {
        name: "taken_in_huge_pages",
        steps: &[
            Step::Write { file: HUGE_PAGES, value: "always" },
            Step::Cgroup { path: TAKEN, limits: &[("memory.max", "464M")] },
            taker("c-takes"),
            REPORTED,
            taker("cpp-takes"),
        ],
        victims: &[("c-takes", 1), ("cpp-takes", 1)],
        reports: &[Expected { count: (2, 2), ..TAKEN_REPORT }],
        options: &["--growth", "--growth-above", "0%"],
        ..ONE_KILL
    },
    // Each way in which usage goes up before it hits the limit, side by side.
    Scenario {
        name: "shapes",
        steps: &[
            with_64_mib("/leak"),
            with_64_mib("/saw"),
            with_64_mib("/jump"),
            shaped("leak", "/leak", Some(170), Work::Anon { mib: 200 }),
            shaped("saw", "/saw", Some(40), Work::Saw { mib: 44, times: 6 }),
            shaped("jump", "/jump", None, Work::Jump { mib: 8, seconds: 11 }),
            Step::AwaitReports { outcome: "killed", count: 3 },
        ],
        victims: &[("jump", 1), ("leak", 1), ("saw", 1)],
        reports: &[Expected { count: (3, 3), ..TAKEN_REPORT }],
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

const TAKEN_REPORT: Expected = Expected {
    outcome: "killed",
    count: (1, 1),
    says: &[("source.hooks.page_counter_try_charge", Want::Text("fexit"))],
};

/// oomwhy has time for the next one: who grows and is gone while it is busy with the kill before may stay
/// without names.
const REPORTED: Step = Step::AwaitReports { outcome: "killed", count: 1 };

/// So much in each of its functions, and what is left of the limit.
const fn taker(name: &'static str) -> Step {
    let process = Process {
        comm: name,
        cgroup: TAKEN,
        work: Work::Become { program: number(name), mib: 48 },
        ..HOG
    };
    Step::Start { process, until: Until::Killed }
}

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

const fn with_64_mib(path: &'static str) -> Step {
    Step::Cgroup { path, limits: &[("memory.max", "64M")] }
}

const fn shaped(
    comm: &'static str,
    cgroup: &'static str,
    pause_ms: Option<u64>,
    work: Work,
) -> Step {
    let process = Process { comm, cgroup, pause_ms, work, ..HOG };
    Step::Start { process, until: Until::Started }
}

const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// 5 times 40 MiB, and what is left of the limit.
const START_GROWING: Step = Step::Start {
    process: Process { cgroup: GROWING_CONTAINER, work: Work::Grow { mib: 40 }, ..HOG },
    until: Until::Killed,
};
