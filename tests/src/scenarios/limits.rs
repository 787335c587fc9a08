//! Limits that are hit, and victims at or below them.

use super::{
    CONTAINER, CONTAINER_OF_48_MIB, HOG, IMMORTAL, ONE_KILL, SLEEPER, START_HOG, START_SLEEPER,
    killed_once, start_holder,
};
use crate::scenario::{Hierarchy, Process, Scenario, Step, Until, Want};
use crate::workload::Work;

pub(super) const ALL: &[Scenario] = &[
    Scenario { name: "memcg_v2", steps: CONTAINER_V2_STEPS, ..ONE_KILL },
    Scenario { name: "memcg_v1", hierarchy: Hierarchy::V1, steps: CONTAINER_V1_STEPS, ..ONE_KILL },
    // The limit of memory and swap together is hit.
    Scenario {
        name: "memcg_v1_swap",
        hierarchy: Hierarchy::V1,
        steps: &[
            Step::Swap,
            Step::Cgroup {
                path: CONTAINER,
                limits: &[("memory.limit_in_bytes", "32M"), ("memory.memsw.limit_in_bytes", "48M")],
            },
            START_SLEEPER,
            START_HOG,
        ],
        reports: &[killed_once(&[
            ("oom_memcg.max_bytes", Want::Number(32 << 20)),
            ("oom_memcg.memsw_max_bytes", Want::Number(48 << 20)),
            ("limit_chain[0].memsw_max_bytes", Want::Number(48 << 20)),
            ("victims[hog].swap_bytes", Want::AtLeast(8 << 20)),
        ])],
        ..ONE_KILL
    },
    Scenario {
        name: "memcg_swap",
        steps: &[
            Step::Swap,
            Step::Cgroup {
                path: CONTAINER,
                limits: &[("memory.max", "32M"), ("memory.swap.max", "16M")],
            },
            START_SLEEPER,
            START_HOG,
        ],
        reports: &[killed_once(&[
            ("totalpages", Want::Number(48 << 8)),
            ("oom_memcg.swap_max_bytes", Want::Number(16 << 20)),
            ("oom_memcg.swap_usage_bytes", Want::AtLeast(8 << 20)),
            ("limit_chain[0].swap_max_bytes", Want::Number(16 << 20)),
            ("limit_chain[1].swap_no_limit", Want::Is(true)),
            ("candidates.list[hog].swap_pages", Want::AtLeast(8 << 8)),
            ("victims[hog].swap_bytes", Want::AtLeast(8 << 20)),
        ])],
        ..ONE_KILL
    },
    Scenario { name: "nested_limit", steps: NESTED_STEPS, ..ONE_KILL },
    Scenario { name: "deep_path", steps: DEEP_STEPS, ..ONE_KILL },
    Scenario {
        name: "trigger_is_not_victim",
        steps: BYSTANDER_STEPS,
        victims: &[("big", 1)],
        ..ONE_KILL
    },
];

const START_SLEEPER_OF_USER: Step = Step::Start {
    process: Process { comm: "sleeper-user", oom_score_adj: 500, uid: 1234, ..SLEEPER },
    until: Until::Ready,
};

/// A container with two sleepers and one process that exceeds the limit.
const CONTAINER_V2_STEPS: &[Step] =
    &[CONTAINER_OF_48_MIB, START_SLEEPER, START_SLEEPER_OF_USER, START_HOG];

const CONTAINER_V1_STEPS: &[Step] = &[
    Step::Cgroup { path: CONTAINER, limits: &[("memory.limit_in_bytes", "48M")] },
    START_SLEEPER,
    START_SLEEPER_OF_USER,
    START_HOG,
];

/// The parent's limit is hit, while the usage is far below the victim's own limit.
const NESTED_STEPS: &[Step] = &[
    Step::Cgroup { path: "/parent", limits: &[("memory.max", "64M")] },
    Step::Cgroup { path: "/parent/child", limits: &[("memory.max", "500M")] },
    Step::Start { process: Process { cgroup: "/parent/child", ..SLEEPER }, until: Until::Ready },
    Step::Start { process: Process { cgroup: "/parent/child", ..HOG }, until: Until::Killed },
];

/// A path of 16 levels. With the root it has as many levels as a report. It still fits into a line
/// of the kernel's log.
const DEEP: &str = concat!(
    "/level-01-of-a-deep-hierarchy-of-slices.slice",
    "/level-02-of-a-deep-hierarchy-of-slices.slice",
    "/level-03-of-a-deep-hierarchy-of-slices.slice",
    "/level-04-of-a-deep-hierarchy-of-slices.slice",
    "/level-05-of-a-deep-hierarchy-of-slices.slice",
    "/level-06-of-a-deep-hierarchy-of-slices.slice",
    "/level-07-of-a-deep-hierarchy-of-slices.slice",
    "/level-08-of-a-deep-hierarchy-of-slices.slice",
    "/level-09-of-a-deep-hierarchy-of-slices.slice",
    "/level-10-of-a-deep-hierarchy-of-slices.slice",
    "/level-11-of-a-deep-hierarchy-of-slices.slice",
    "/level-12-of-a-deep-hierarchy-of-slices.slice",
    "/level-13-of-a-deep-hierarchy-of-slices.slice",
    "/level-14-of-a-deep-hierarchy-of-slices.slice",
    "/level-15-of-a-deep-hierarchy-of-slices.slice",
    "/level-16-of-a-deep-hierarchy-of-slices.slice",
);

const DEEP_STEPS: &[Step] = &[
    Step::Cgroup { path: DEEP, limits: &[("memory.max", "32M")] },
    Step::Start { process: Process { cgroup: DEEP, ..HOG }, until: Until::Killed },
];

/// A small process asks for the page that exceeds the limit, and a big one that sleeps is killed.
const BYSTANDER_STEPS: &[Step] = &[
    Step::Cgroup { path: "/shared", limits: &[("memory.max", "160M")] },
    start_holder("big", "/shared", 110),
    Step::Start {
        process: Process {
            comm: "small",
            cgroup: "/shared",
            // Not killable: it asks for memory while big dies. If big is gone but its memory is not
            // yet released, the kernel would kill small as well.
            uid: 1234,
            work: Work::Anon { mib: 60 },
            ..IMMORTAL
        },
        until: Until::Ready,
    },
];
