//! The kinds of victims: groups, threads without a leader, vfork children, nested pid namespaces.

use super::{
    CONTAINER, CONTAINER_OF_48_MIB, HOG, IMMORTAL, ONE_KILL, SLEEPER, START_HOG, WATCHER,
    killed_once, start_holder,
};
use crate::scenario::{Process, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

pub(super) const ALL: &[Scenario] = &[
    // `risk` names the next victim while the usage grows, before it is the biggest process.
    Scenario {
        name: "next_victim",
        victims: &[("growing", 1)],
        steps: &[
            Step::Cgroup { path: "/next-victim", limits: &[("memory.max", "96M")] },
            start_holder("biggest", "/next-victim", 40),
            Step::Start {
                process: Process {
                    comm: "growing",
                    cgroup: "/next-victim",
                    oom_score_adj: 800,
                    pause_ms: Some(40),
                    ..HOG
                },
                until: Until::Started,
            },
            Step::Run(Watcher {
                name: "risk",
                args: &["risk", "-o", "json", "--cgroup", "/next-victim", "--interval", "300ms"],
                ends: true,
                lines: ("{\"schema\":1,\"type\":\"risk\"", 1, 1),
                has: &["\"comm\":\"growing\"", "time_to_limit"],
                has_not: &["biggest"],
                ..WATCHER
            }),
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "oom_group",
        steps: GROUP_STEPS,
        victims: &[("hog", 1), ("helper", 1), ("sleeper", 1)],
        reports: &[killed_once(&[
            ("oom_memcg.oom_group", Want::Is(true)),
            ("victims[hog].chosen", Want::Is(true)),
            ("victims[helper].chosen", Want::Is(false)),
            ("victims[sleeper].chosen", Want::Is(false)),
            ("victims[spared]", Want::Absent),
            ("victims[3]", Want::Absent),
            // The first victim is killed again with its group, and counts once.
            ("victims_total", Want::Number(3)),
        ])],
        ..ONE_KILL
    },
    // The log's line "Killed process" names the thread that has the memory.
    Scenario {
        name: "leader_exited",
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Start {
                process: Process { comm: "leader", work: Work::SecondThread { mib: 200 }, ..HOG },
                until: Until::Killed,
            },
        ],
        victims: &[("second", 1)],
        reports: &[killed_once(&[
            ("victims[second].tid", Want::AtLeast(1)),
            ("victims[second].chosen", Want::Is(true)),
            ("victims[second].vpid", Want::Absent),
            // The leader has exited and has no memory.
            ("candidates.list[second].anon_pages", Want::AtLeast(1)),
        ])],
        ..ONE_KILL
    },
    // The child shares the memory of its parent and is killed with it, without a line in the log
    // and without a mark.
    Scenario {
        name: "vfork_child",
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Start {
                process: Process { comm: "parent", work: Work::VforkChild { mib: 200 }, ..HOG },
                until: Until::Killed,
            },
        ],
        victims: &[("parent", 1)],
        silent_victims: &[("vfork-child", 1)],
        refused: &[("vfork-child", "vfork")],
        reports: &[killed_once(&[
            ("victims[parent].shares_mm_with", Want::Absent),
            ("victims[vfork-child].shares_mm_with", Want::AtLeast(2)),
            ("victims[vfork-child].chosen", Want::Is(false)),
            ("victims[vfork-child].anon_rss_bytes", Want::Absent),
            ("victims[vfork-child].stuck", Want::Absent),
            ("victims[2]", Want::Absent),
            ("victims_total", Want::Number(2)),
        ])],
        ..ONE_KILL
    },
    Scenario {
        name: "zombies",
        steps: ZOMBIES_STEPS,
        victims: &[("container-init", 1)],
        reports: &[killed_once(&[
            ("victims[0].vpid", Want::Number(1)),
            ("victims[1]", Want::Absent),
            ("victims_total", Want::Number(1)),
        ])],
        ..ONE_KILL
    },
    // The nested process is the third and the second process of the namespaces in between. Then the
    // machine's init becomes a member, which the kernel never kills.
    Scenario {
        name: "pid_namespace",
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Start { process: Process { pid_namespaces: 1, ..HOG }, until: Until::Killed },
            Step::Start {
                process: Process { comm: "nested", pid_namespaces: 3, ..HOG },
                until: Until::Killed,
            },
            Step::Write {
                file: "/sys/fs/cgroup/kubepods/pod1234/ctr-app/cgroup.procs",
                value: "1",
            },
            Step::Start { process: Process { comm: "beside-init", ..HOG }, until: Until::Killed },
        ],
        victims: &[("hog", 1), ("nested", 1), ("beside-init", 1)],
        kills: &[
            ("hog", &[("victims[0].vpid", Want::Number(1)), ("trigger.pid", Want::AtLeast(2))]),
            ("nested", &[("victims[0].vpid", Want::Number(1)), ("trigger.pid", Want::AtLeast(2))]),
            ("beside-init", &[("candidates.list[init]", Want::Absent)]),
        ],
        ..ONE_KILL
    },
];

/// The init of a container dies with children that it has not reaped. The kernel sends them SIGKILL
/// when it ends the pid namespace, after it has left `out_of_memory`: they are no victims.
const ZOMBIES_STEPS: &[Step] = &[
    CONTAINER_OF_48_MIB,
    Step::Start {
        process: Process {
            comm: "container-init",
            pid_namespaces: 1,
            work: Work::Zombies { count: 5, mib: 200 },
            ..HOG
        },
        until: Until::Killed,
    },
];

/// The kernel kills all members except the one that is exempt.
const GROUP_STEPS: &[Step] = &[
    Step::Cgroup { path: CONTAINER, limits: &[("memory.max", "48M"), ("memory.oom.group", "1")] },
    Step::Start { process: SLEEPER, until: Until::Ready },
    Step::Start {
        process: Process { comm: "spared", work: Work::Sleep, ..IMMORTAL },
        until: Until::Ready,
    },
    Step::Start {
        process: Process { comm: "helper", uid: 1234, work: Work::Anon { mib: 4 }, ..SLEEPER },
        until: Until::Ready,
    },
    START_HOG,
];
