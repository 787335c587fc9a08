//! The whole machine, or some of its nodes, run out of memory.

use super::by_log::{AWAIT_GROUP_MEMBERS, by_log};
use super::outcomes::GREEDY;
use super::{HOG, ONE_KILL, SLEEPER, killed_once, start_preferred};
use crate::scenario::{Expected, Process, Scenario, Step, Until, Want};
use crate::workload::Work;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "global",
        victims: &[("disposable", 1), ("growing", 1)],
        steps: GLOBAL_STEPS,
        ..ONE_KILL
    },
    Scenario {
        name: "allocating_task",
        victims: &[("greedy", 1)],
        steps: &[
            OVERCOMMIT,
            Step::Write { file: "/proc/sys/vm/oom_kill_allocating_task", value: "1" },
            MACHINE,
            // It has more points than the allocating task, which the kernel kills instead.
            Step::Start { process: holder("holder", 900), until: Until::Ready },
            Step::Start {
                process: Process { cgroup: "/machine", oom_score_adj: 0, ..GREEDY },
                until: Until::Killed,
            },
        ],
        reports: &[killed_once(&[
            ("reason", Want::Text("allocating_task")),
            ("constraint", Want::Text("none")),
            ("candidates", Want::Absent),
            ("victims[greedy].points", Want::Absent),
        ])],
        // No limit is hit, so the report has the reason why there is no growth.
        options: &["--growth"],
        ..ONE_KILL
    },
    Scenario {
        name: "sysrq",
        victims: &[("disposable", 1)],
        steps: &[
            MACHINE,
            Step::Start { process: holder("holder", 0), until: Until::Ready },
            Step::Start { process: holder("disposable", 900), until: Until::Ready },
            by_log(1),
            Step::Write { file: "/proc/sysrq-trigger", value: "f" },
            AWAIT_GROUP_MEMBERS,
        ],
        reports: &[killed_once(&[
            ("reason", Want::Text("sysrq")),
            ("trigger.order", Want::Number(-1)),
            ("trigger.user_stack", Want::Absent),
            ("victims[disposable].chosen", Want::Is(true)),
        ])],
        ..ONE_KILL
    },
    // The victim's memory stays for two seconds. Meanwhile another process kills the task that
    // waits for it, so that task enters the OOM killer while it is dying.
    Scenario {
        name: "will_free_mem",
        victims: &[("undead", 1)],
        steps: &[
            OVERCOMMIT,
            MACHINE,
            Step::Start {
                process: Process {
                    comm: "keeper",
                    cgroup: "/machine",
                    oom_score_adj: 900,
                    work: Work::KillGreedy { mib: 40 },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
        ],
        reports: &[
            killed_once(&[
                ("trigger.comm", Want::Text("greedy")),
                // Its exit is blocked, but the reaper releases its memory after two seconds.
                ("victims[undead].stuck", Want::Is(true)),
                ("victims[undead].freed_after_ns", Want::Absent),
                ("victims[undead].reaped.started_after_ns", Want::AtLeast(1_900_000_000)),
                ("victims[undead].reaped.finished_after_ns", Want::AtLeast(1_900_000_000)),
            ]),
            Expected {
                outcome: "will_free_mem",
                // On a busy machine the report may come too late.
                count: (0, 1),
                says: &[
                    ("reason", Want::Absent),
                    ("trigger.comm", Want::Text("greedy")),
                    ("victims[greedy].chosen", Want::Is(false)),
                    ("victims[1]", Want::Absent),
                    ("candidates", Want::Absent),
                    ("totalpages", Want::Absent),
                ],
            },
        ],
        // Its exit is blocked for ever, and the reaper looks at it after two seconds.
        options: &["--close-after", "5s"],
        ..ONE_KILL
    },
    Scenario {
        name: "global_swap",
        victims: &[("greedy", 1)],
        steps: &[
            OVERCOMMIT,
            Step::Swap,
            MACHINE,
            Step::Start { process: holder("holder", 0), until: Until::Ready },
            Step::Start { process: Process { cgroup: "/machine", ..GREEDY }, until: Until::Killed },
        ],
        reports: &[killed_once(&[
            ("constraint", Want::Text("none")),
            // Reclaim decides how much of each is in swap: the holder may fill all of it.
            ("candidates.list[holder].swap_pages", Want::AtLeast(16)),
            ("victims[greedy].swap_bytes", Want::AtLeast(0)),
        ])],
        ..ONE_KILL
    },
    Scenario {
        name: "cpuset",
        steps: &[
            OVERCOMMIT,
            Step::Cgroup { path: "/node-1", limits: &[("cpuset.mems", "1")] },
            Step::Start {
                process: Process { cgroup: "/node-1", work: Work::Anon { mib: 2048 }, ..HOG },
                until: Until::Killed,
            },
        ],
        reports: &[killed_once(&[
            ("constraint", Want::Text("cpuset")),
            ("oom_memcg", Want::Absent),
        ])],
        ..ONE_KILL
    },
    // A write to a tmpfs with a memory policy allocates by that policy.
    Scenario {
        name: "memory_policy",
        steps: &[
            MACHINE,
            Step::Mount { kind: "tmpfs", target: "/tmp", options: "mpol=bind:1,size=2g" },
            start_preferred("/machine", Work::Shmem { mib: 2000 }, Until::Killed),
        ],
        reports: &[killed_once(&[
            ("constraint", Want::Text("memory_policy")),
            ("oom_memcg", Want::Absent),
        ])],
        ..ONE_KILL
    },
];

pub(super) const OVERCOMMIT: Step =
    Step::Write { file: "/proc/sys/vm/overcommit_memory", value: "1" };
pub(super) const MACHINE: Step = Step::Cgroup { path: "/machine", limits: &[] };

/// The first victim is small, but has a high oom_score_adj, and it is not the trigger. Its memory
/// is not enough, so the growing process is the second victim.
const GLOBAL_STEPS: &[Step] = &[
    OVERCOMMIT,
    MACHINE,
    Step::Start { process: holder("holder", 0), until: Until::Ready },
    Step::Start { process: holder("disposable", 900), until: Until::Ready },
    Step::Start {
        process: Process {
            comm: "growing",
            cgroup: "/machine",
            oom_score_adj: 50,
            work: Work::Anon { mib: 2048 },
            ..HOG
        },
        until: Until::Killed,
    },
];

pub(super) const fn holder(comm: &'static str, oom_score_adj: i16) -> Process {
    Process {
        comm,
        cgroup: "/machine",
        oom_score_adj,
        uid: 1000,
        work: Work::Anon { mib: 40 },
        ..SLEEPER
    }
}
