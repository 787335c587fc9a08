//! Compares reports from the kernel's log alone with those of the probes.

use super::storms::A_KILL;
use super::{
    CONTAINER, CONTAINER_OF_48_MIB, HOG, ONE_KILL, SLEEPER, START_HOG, START_SLEEPER, WATCHER,
};
use crate::scenario::{Process, Scenario, Step, Until, Watcher};

pub(super) const ALL: &[Scenario] = &[
    // The scenario `sysrq` tests a kill of the whole machine.
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
            AWAIT_GROUP_MEMBERS,
        ],
        ..ONE_KILL
    },
];

/// The reader of the log waits a moment for other members of a group.
pub(super) const AWAIT_GROUP_MEMBERS: Step = Step::Rest { seconds: 1 };

/// Starts an oomwhy that reads the log and reports this many kills.
pub(super) const fn by_log(kills: usize) -> Step {
    Step::Watch(Watcher {
        name: "by-log",
        args: &["--attach", "kmsg", "-o", "json"],
        lines: (A_KILL, kills, kills),
        has: &["\"tier\":\"kmsg\""],
        has_not: &["\"limit_chain\":"],
        ..WATCHER
    })
}
