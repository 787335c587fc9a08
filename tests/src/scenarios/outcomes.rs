//! Invocations that end without a kill, and victims that were chosen for another reason than
//! points.

use super::{HOG, IMMORTAL, ONE_KILL, SLEEPER, killed_once, start_holder};
use crate::scenario::{Expected, Hierarchy, Process, Scenario, Step, Until, Want};
use crate::workload::Work;

pub(super) const ALL: &[Scenario] = &[
    // The kernel chooses a process that another process killed and that does not exit. It is
    // marked, and the kernel waits until the reaper has reaped its memory, two seconds later.
    Scenario {
        name: "already_exiting",
        steps: &[
            Step::Cgroup { path: "/graveyard", limits: &[("memory.max", "64M")] },
            Step::Start {
                process: Process {
                    cgroup: "/graveyard",
                    work: Work::Undead { mib: 40 },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
            Step::Start {
                process: Process { cgroup: "/graveyard", work: Work::Anon { mib: 40 }, ..IMMORTAL },
                until: Until::Ready,
            },
        ],
        victims: &[],
        reports: &[Expected {
            outcome: "already_exiting",
            count: (1, 1),
            says: &[
                ("reason", Want::Text("selection")),
                ("repeats", Want::Absent),
                ("trigger.comm", Want::Text("immortal")),
                ("victims[undead].chosen", Want::Is(true)),
                ("candidates.list[undead].chosen", Want::Is(true)),
                ("candidates.list[immortal].why_not", Want::Text("oom_score_adj_min")),
                // The kernel retries until the reaper is done.
                ("invocations_while_dying", Want::AtLeast(2)),
            ],
        }],
        ..ONE_KILL
    },
    // The kernel kills no process, prints nothing, and lets the process wait for memory.
    Scenario {
        name: "disabled",
        hierarchy: Hierarchy::V1,
        steps: &[
            Step::Cgroup {
                path: "/disabled",
                limits: &[("memory.limit_in_bytes", "16M"), ("memory.oom_control", "1")],
            },
            Step::Start {
                process: Process { cgroup: "/disabled", work: Work::Anon { mib: 20 }, ..HOG },
                until: Until::Waiting,
            },
            Step::Write {
                file: "/sys/fs/cgroup/memory/disabled/memory.limit_in_bytes",
                value: "64M",
            },
            Step::AwaitReports { outcome: "disabled", count: 2 },
        ],
        victims: &[],
        reports: &[Expected {
            outcome: "disabled",
            // One report when it begins to wait, one when it stops.
            count: (2, 2),
            says: &[
                ("constraint", Want::Text("memcg")),
                ("trigger.comm", Want::Text("hog")),
                ("trigger.gfp_mask.value", Want::AtLeast(1)),
                ("trigger.order", Want::Number(0)),
                ("oom_memcg.path", Want::Text("/disabled")),
                ("oom_memcg.max_bytes", Want::Number(16 << 20)),
                ("victims[0]", Want::Absent),
            ],
        }],
        ..ONE_KILL
    },
    // The kernel retries, and prints its complete report each time.
    Scenario {
        name: "no_victim",
        steps: &[
            Step::Cgroup { path: "/immortals", limits: &[("memory.max", "8M")] },
            Step::Start {
                process: Process { cgroup: "/immortals", work: Work::Anon { mib: 12 }, ..IMMORTAL },
                until: Until::OutOfMemory { times: 60 },
            },
            // Its allocations succeed again, so it does not delay the detaching of probes.
            Step::Write { file: "/sys/fs/cgroup/immortals/memory.max", value: "max" },
        ],
        victims: &[],
        reports: &[Expected {
            outcome: "no_victim",
            count: (1, 1),
            says: &[
                ("repeats", Want::AtLeast(50)),
                ("reason", Want::Absent),
                ("message", Want::Absent),
                ("victims[0]", Want::Absent),
                ("oom_memcg.path", Want::Text("/immortals")),
                ("limit_chain[0].hit", Want::Is(true)),
                ("candidates.list[immortal].why_not", Want::Text("oom_score_adj_min")),
            ],
        }],
        ..ONE_KILL
    },
    // The task that lowers the limit is the trigger, and not a member. One member is killed, the
    // other is not killable.
    Scenario {
        name: "lowered_limit",
        steps: &[
            Step::Cgroup { path: "/lowered", limits: &[] },
            start_holder("big", "/lowered", 100),
            Step::Start {
                process: Process { cgroup: "/lowered", work: Work::Anon { mib: 50 }, ..IMMORTAL },
                until: Until::Ready,
            },
            Step::Write { file: "/sys/fs/cgroup/lowered/memory.max", value: "32M" },
        ],
        victims: &[("big", 1)],
        reports: &[
            killed_once(&[
                ("trigger.comm", Want::Text("init")),
                ("trigger.cgroup.path", Want::Text("/")),
                ("oom_memcg.max_bytes", Want::Number(32 << 20)),
                ("oom_memcg.usage_bytes", Want::AtLeast(150 << 20)),
            ]),
            Expected {
                outcome: "no_victim",
                count: (1, 1),
                says: &[("trigger.comm", Want::Text("init"))],
            },
        ],
        ..ONE_KILL
    },
];

/// A process that asks for the memory of the whole machine.
pub(super) const GREEDY: Process =
    Process { comm: "greedy", work: Work::Anon { mib: 1 << 20 }, ..HOG };
