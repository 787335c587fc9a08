//! The scenarios: every situation in which oomwhy must tell what the kernel did.

use crate::scenario::{Hierarchy, Process, Scenario, Step, Until};
use crate::workload::Work;

/// The container-like cgroup that most scenarios use.
pub const CONTAINER: &str = "/kubepods/pod1234/ctr-app";

/// 16 levels: with the root, as many as are told. Not longer than a line of the kernel's log
/// may be.
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

/// All of them.
pub const ALL: &[Scenario] = &[
    MEMCG_V2,
    Scenario { name: "lockdown", ..MEMCG_V2 },
    Scenario { name: "memcg_v1", hierarchy: Hierarchy::V1, steps: CONTAINER_V1_STEPS, ..MEMCG_V2 },
    Scenario { name: "nested_limit", steps: NESTED_STEPS, ..MEMCG_V2 },
    Scenario { name: "deep_path", steps: DEEP_STEPS, ..MEMCG_V2 },
    Scenario {
        name: "trigger_is_not_victim",
        victims: &["big"],
        steps: BYSTANDER_STEPS,
        ..MEMCG_V2
    },
    Scenario {
        name: "twenty_in_a_row",
        rounds: 20,
        victims: &["brief"],
        steps: SHORT_LIVED_STEPS,
        ..MEMCG_V2
    },
    Scenario {
        name: "global",
        victims: &["disposable", "grower"],
        protect_tracer: true,
        steps: GLOBAL_STEPS,
        ..MEMCG_V2
    },
];

const MEMCG_V2: Scenario = Scenario {
    name: "memcg_v2",
    hierarchy: Hierarchy::V2,
    rounds: 1,
    steps: CONTAINER_V2_STEPS,
    victims: &["hog"],
    protect_tracer: false,
};

const SLEEPER: Process =
    Process { comm: "sleeper", cgroup: CONTAINER, oom_score_adj: 0, uid: 0, work: Work::Sleep };

const HOG: Process = Process {
    comm: "hog",
    cgroup: CONTAINER,
    oom_score_adj: 100,
    uid: 0,
    work: Work::Anon { mib: 200 },
};

const START_SLEEPER: Step = Step::Start { process: SLEEPER, until: Until::Ready };
const START_SLEEPER_OF_USER: Step = Step::Start {
    process: Process { comm: "sleeper-user", oom_score_adj: 500, uid: 1234, ..SLEEPER },
    until: Until::Ready,
};
const START_HOG: Step = Step::Start { process: HOG, until: Until::Killed };

/// A container with two innocent sleepers and one process that outgrows the limit.
const CONTAINER_V2_STEPS: &[Step] = &[
    Step::Cgroup { path: CONTAINER, limits: &[("memory.max", "48M")] },
    START_SLEEPER,
    START_SLEEPER_OF_USER,
    START_HOG,
];

const CONTAINER_V1_STEPS: &[Step] = &[
    Step::Cgroup { path: CONTAINER, limits: &[("memory.limit_in_bytes", "48M")] },
    START_SLEEPER,
    START_SLEEPER_OF_USER,
    START_HOG,
];

/// The limit that is hit is the parent's, while the victim's own is far away.
const NESTED_STEPS: &[Step] = &[
    Step::Cgroup { path: "/parent", limits: &[("memory.max", "64M")] },
    Step::Cgroup { path: "/parent/child", limits: &[("memory.max", "500M")] },
    Step::Start { process: Process { cgroup: "/parent/child", ..SLEEPER }, until: Until::Ready },
    Step::Start { process: Process { cgroup: "/parent/child", ..HOG }, until: Until::Killed },
];

const DEEP_STEPS: &[Step] = &[
    Step::Cgroup { path: DEEP, limits: &[("memory.max", "32M")] },
    Step::Start { process: Process { cgroup: DEEP, ..HOG }, until: Until::Killed },
];

/// A small process asks for the page too many, a big one that sleeps dies for it.
const BYSTANDER_STEPS: &[Step] = &[
    Step::Cgroup { path: "/shared", limits: &[("memory.max", "160M")] },
    Step::Start {
        process: Process {
            comm: "big",
            cgroup: "/shared",
            oom_score_adj: 0,
            uid: 0,
            work: Work::Anon { mib: 110 },
        },
        until: Until::Ready,
    },
    Step::Start {
        process: Process {
            comm: "small",
            cgroup: "/shared",
            // Not killable: it goes on to ask for memory while big dies, and when big is gone but
            // its memory is not yet given back, the kernel would take small as well.
            oom_score_adj: -1000,
            uid: 1234,
            work: Work::Anon { mib: 60 },
        },
        until: Until::Ready,
    },
];

/// More kills than the kernel's own report is willing to print, each in a cgroup that is gone
/// before anyone could look at it.
const SHORT_LIVED_STEPS: &[Step] = &[
    Step::Cgroup { path: "/short-lived-{n}", limits: &[("memory.max", "8M")] },
    Step::Start {
        process: Process { comm: "brief", cgroup: "/short-lived-{n}", ..HOG },
        until: Until::Killed,
    },
    Step::RemoveCgroup { path: "/short-lived-{n}" },
];

/// The machine itself runs out. The first victim is small but has a high oom_score_adj and is not
/// the trigger; freeing it is not enough, so the one that grows is the second.
const GLOBAL_STEPS: &[Step] = &[
    Step::Sysctl { name: "vm/overcommit_memory", value: "1" },
    Step::Cgroup { path: "/machine", limits: &[] },
    Step::Start { process: holder("holder", 0), until: Until::Ready },
    Step::Start { process: holder("disposable", 900), until: Until::Ready },
    Step::Start {
        process: Process {
            comm: "grower",
            cgroup: "/machine",
            oom_score_adj: 50,
            uid: 0,
            work: Work::Anon { mib: 2048 },
        },
        until: Until::Killed,
    },
];

const fn holder(comm: &'static str, oom_score_adj: i16) -> Process {
    Process { comm, cgroup: "/machine", oom_score_adj, uid: 1000, work: Work::Anon { mib: 40 } }
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
