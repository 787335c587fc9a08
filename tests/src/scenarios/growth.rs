//! The growth before a kill: known amounts in known functions.

use super::{HOG, ONE_KILL, WATCHER, killed_once};
use crate::programs::number;
use crate::scenario::{Expected, Process, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

const POD: &str = "/kubepods/pod9999";
const UNLIMITED_CONTAINER: &str = "/kubepods/pod9999/ctr-any";

pub(super) const ALL: &[Scenario] = &[
    // Every kind of memory, in several languages.
    Scenario {
        name: "alloc_fixed",
        steps: &[Step::Write { file: HUGE_PAGES, value: "never" }, ALL_PROGRAMS],
        ..FOUR_PROGRAMS
    },
    Scenario {
        name: "alloc_fixed_in_huge_pages",
        steps: &[Step::Write { file: HUGE_PAGES, value: "always" }, ALL_PROGRAMS],
        ..FOUR_PROGRAMS
    },
    // Each shape of growth before the limit is hit, side by side.
    Scenario {
        name: "shapes",
        steps: &[
            with_64_mib("/leak"),
            with_64_mib("/saw"),
            with_64_mib("/fast-saw"),
            with_64_mib("/jump"),
            shaped("leak", "/leak", Some(170), Work::Anon { mib: 200 }),
            shaped("saw", "/saw", Some(120), Work::Saw { mib: 44, times: 2 }),
            // The usage rises and falls about as often as the recorder adds a point.
            shaped("fast-saw", "/fast-saw", Some(25), Work::Saw { mib: 44, times: 15 }),
            // The jump takes 5 s on a slow machine, and must be in the last quarter of the time.
            shaped("jump", "/jump", None, Work::Jump { mib: 8, seconds: 16 }),
            // Growth of less than ten seconds has no shape.
            Step::Rest { seconds: 11 },
            Step::Run(RISK_OF_SAW),
            Step::AwaitReports { outcome: "killed", count: 4 },
        ],
        victims: &[("fast-saw", 1), ("jump", 1), ("leak", 1), ("saw", 1)],
        reports: &[Expected { count: (4, 4), ..RECORDED }],
        ..FROM_THE_START
    },
    // The limit of the parent is hit, and growth is recorded from half of that limit on.
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
        reports: &[Expected {
            says: &[
                ("growth.stacks[0].comm", Want::Text("hog")),
                ("growth.curve[0].limit_bytes", Want::Number(96 << 20)),
                HOOK,
            ],
            ..RECORDED
        }],
        options: &["-v", "--growth"],
        ..ONE_KILL
    },
];

/// `risk` does not count the current rise of a sawtooth as growth, even near the limit.
const RISK_OF_SAW: Watcher = Watcher {
    name: "risk",
    args: &["risk", "-o", "json", "--cgroup", "/fast-saw", "--interval", "1h"],
    ends: true,
    lines: ("{\"schema\":1,\"type\":\"risk\"", 1, 1),
    has: &["\"source\":\"recorder\"", "\"growth_kind\":\"sawtooth\""],
    has_not: &["recorder_unused"],
    ..WATCHER
};

const FROM_THE_START: Scenario =
    Scenario { options: &["--growth", "--growth-above", "0%"], ..ONE_KILL };

const FOUR_PROGRAMS: Scenario = Scenario {
    victims: &[("c-alloc", 1), ("cpp-alloc", 1), ("rust-alloc", 1), ("py-alloc", 1)],
    reports: &[Expected { count: (4, 4), ..RECORDED }],
    ..FROM_THE_START
};

/// The recorded values of every kill.
const RECORDED: Expected =
    killed_once(&[("growth.curve[0].limit_bytes", Want::AtLeast(64 << 20)), HOOK]);

const HOOK: (&str, Want) = ("source.hooks.page_counter_try_charge", Want::Text("fexit"));

/// Programs one after the other, each with a limit that fits its kinds of memory. If a program
/// grows and exits while oomwhy is busy with the kill before, its functions may have no names.
const ALL_PROGRAMS: Step = Step::Repeat {
    times: 1,
    steps: &[
        Step::Cgroup { path: "/alloc/c", limits: &[("memory.max", "432M")] },
        alloc_fixed("c-alloc", "/alloc/c"),
        reported(1),
        Step::Cgroup { path: "/alloc/cpp", limits: &[("memory.max", "256M")] },
        alloc_fixed("cpp-alloc", "/alloc/cpp"),
        reported(2),
        Step::Cgroup { path: "/alloc/rust", limits: &[("memory.max", "512M")] },
        alloc_fixed("rust-alloc", "/alloc/rust"),
        reported(3),
        Step::Cgroup { path: "/alloc/py", limits: &[("memory.max", "384M")] },
        alloc_fixed("py-alloc", "/alloc/py"),
    ],
};

/// Starts a program that allocates this amount in each of its functions, and then up to the limit.
const fn alloc_fixed(name: &'static str, cgroup: &'static str) -> Step {
    let work = Work::Become { program: number(name), mib: 48 };
    Step::Start { process: Process { comm: name, cgroup, work, ..HOG }, until: Until::Killed }
}

const fn reported(count: usize) -> Step {
    Step::AwaitReports { outcome: "killed", count }
}

/// The same kill traced by kprobes.
const BY_KPROBE: Watcher = Watcher {
    name: "kprobe",
    args: &["-o", "json", "-v", "--attach", "kprobe", "--growth", "--count", "1"],
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
