//! The user stacks of programs with known functions, each built in another way.

use super::{ONE_KILL, Scenario, Step};
use crate::programs::number;
use crate::scenario::{Process, Until};
use crate::workload::Work;

const ROOM: Step = Step::Cgroup { path: "/grown", limits: &[("memory.max", "48M")] };

/// Randomizes the addresses of programs, as on any host. The other scenarios do not, for speed.
const SOMEWHERE: Step = Step::Write { file: "/proc/sys/kernel/randomize_va_space", value: "2" };

const fn leak(name: &'static str, mib: usize, oom_score_adj: i16, until: Until) -> Step {
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
    // Each program is its own trigger.
    Scenario {
        name: "stacks",
        steps: &[
            SOMEWHERE,
            ROOM,
            leak("c-static", 100, 0, Until::Killed),
            leak("c-static-pie", 100, 0, Until::Killed),
            leak("c-dynamic", 100, 0, Until::Killed),
            leak("c-no-fp", 100, 0, Until::Killed),
            leak("c-made", 100, 0, Until::Killed),
            leak("rust", 100, 0, Until::Killed),
            leak("cpp", 100, 0, Until::Killed),
        ],
        victims: &[
            ("c-static", 1),
            ("c-static-pie", 1),
            ("c-dynamic", 1),
            ("c-no-fp", 1),
            ("c-made", 1),
            ("rust", 1),
            ("cpp", 1),
        ],
        ..ONE_KILL
    },
    // The trigger's frames are in another program than the victim's. The victim's memory may still
    // be charged when nothing of it is left to reap (on 7.3, 26 ms later), so the trigger must not
    // be killable.
    Scenario {
        name: "stacks_of_two",
        steps: &[
            SOMEWHERE,
            Step::Cgroup { path: "/grown", limits: &[("memory.max", "96M")] },
            leak("c-static-pie", 84, 1000, Until::Ready),
            leak("rust", 40, -1000, Until::Ready),
        ],
        victims: &[("c-static-pie", 1)],
        ..ONE_KILL
    },
];
