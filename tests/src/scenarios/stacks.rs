//! Who touched the memory: programs that were built for it, one way each.

use super::{ONE_KILL, Scenario, Step};
use crate::programs::number;
use crate::scenario::{Process, Until};
use crate::workload::Work;

const ROOM: Step = Step::Cgroup { path: "/grown", limits: &[("memory.max", "48M")] };

const fn grower(name: &'static str, mib: usize, oom_score_adj: i16, until: Until) -> Step {
    let process = Process {
        comm: name,
        cgroup: "/grown",
        oom_score_adj,
        uid: 0,
        pause_ms: None,
        pid_namespaces: 0,
        work: Work::Become { program: number(name), mib },
    };
    Step::Start { process, until }
}

pub(super) const ALL: &[Scenario] = &[
    // Each is its own trigger.
    Scenario {
        name: "stacks",
        steps: &[
            ROOM,
            grower("c-static", 100, 0, Until::Killed),
            grower("c-static-pie", 100, 0, Until::Killed),
            grower("c-dynamic", 100, 0, Until::Killed),
            grower("c-no-fp", 100, 0, Until::Killed),
            grower("c-made", 100, 0, Until::Killed),
            grower("rust", 100, 0, Until::Killed),
        ],
        victims: &[
            ("c-static", 1),
            ("c-static-pie", 1),
            ("c-dynamic", 1),
            ("c-no-fp", 1),
            ("c-made", 1),
            ("rust", 1),
        ],
        ..ONE_KILL
    },
    // The trigger's frames are of its own program, the victim's of another. Up to 10,000 pages
    // (MAX_GATHER_BATCH_COUNT) may still be charged when the kernel says that nothing is left to take of
    // the victim: with the rest the trigger must get through, or it is killed too.
    Scenario {
        name: "stacks_of_two",
        steps: &[
            Step::Cgroup { path: "/grown", limits: &[("memory.max", "96M")] },
            grower("c-static-pie", 84, 1000, Until::Ready),
            grower("rust", 40, 0, Until::Ready),
        ],
        victims: &[("c-static-pie", 1)],
        ..ONE_KILL
    },
];
