//! What the kernel's log alone gives, beside the tracer that is compared with it anyway.

use super::{CONTAINER, CONTAINER_OF_48_MIB, HOG, ONE_KILL, SLEEPER, START_HOG, START_SLEEPER};
use crate::scenario::{Process, Scenario, Step, Until, Watcher};
use crate::workload::Work;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "kmsg_tier",
        victims: &[("hog", 2), ("member", 1), ("a%0Ab,pid=1", 1)],
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup {
                path: "/group",
                limits: &[("memory.max", "32M"), ("memory.oom.group", "1")],
            },
            START_SLEEPER,
            Step::Start {
                process: Process { comm: "member", cgroup: "/group", ..SLEEPER },
                until: Until::Ready,
            },
            by_log(3),
            START_HOG,
            Step::Start { process: Process { cgroup: "/group", ..HOG }, until: Until::Killed },
            Step::Start {
                process: Process { comm: "a%0Ab,pid=1", cgroup: CONTAINER, ..HOG },
                until: Until::Killed,
            },
            SETTLE,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "kmsg_tier_global",
        victims: &[("disposable", 1)],
        steps: &[
            Step::Cgroup { path: "/machine", limits: &[] },
            Step::Start {
                process: Process {
                    comm: "disposable",
                    cgroup: "/machine",
                    oom_score_adj: 900,
                    work: Work::Anon { mib: 40 },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
            by_log(1),
            Step::Write { file: "/proc/sysrq-trigger", value: "f" },
            SETTLE,
        ],
        ..ONE_KILL
    },
];

/// The log's reader waits a moment for members of a group.
const SETTLE: Step = Step::Rest { seconds: 1 };

const fn by_log(kills: usize) -> Step {
    Step::Watch(Watcher {
        name: "by-log",
        args: &["--attach", "kmsg", "-o", "json"],
        replays: false,
        ends: false,
        lines: ("{\"type\":\"oom\"", kills, kills),
        has: &["\"tier\":\"kmsg\""],
        lacks: &["\"limit_chain\":"],
        tier: None,
    })
}
