//! Names of processes and cgroups that are hostile to programs that read them.

use super::{HOG, ONE_KILL, SLEEPER};
use crate::scenario::{Process, Scenario, Step, Until, Want};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "hostile_comm",
    steps: &[
        Step::Cgroup { path: "/names", limits: &[("memory.max", "48M")] },
        Step::Start {
            process: Process { comm: LOG_WORDS, cgroup: "/names", ..SLEEPER },
            until: Until::Ready,
        },
        Step::Start {
            process: Process { comm: ESCAPES, cgroup: "/names", ..HOG },
            until: Until::Killed,
        },
        Step::Cgroup { path: HOSTILE_PATH, limits: &[("memory.max", "32M")] },
        Step::Start { process: Process { cgroup: HOSTILE_PATH, ..HOG }, until: Until::Killed },
        // The path is too long for a line of the kernel's log.
        Step::Cgroup { path: LONG_PATH, limits: &[("memory.max", "32M")] },
        Step::Start {
            process: Process { comm: "long-path", cgroup: LONG_PATH, ..HOG },
            until: Until::Killed,
        },
    ],
    victims: &[(ESCAPES, 1), ("hog", 1), ("long-path", 1)],
    kills: &[
        (
            ESCAPES,
            &[
                ("victims[0].comm_hex", Want::Text("1b5b324a0a225c09ff80")),
                ("trigger.comm_hex", Want::Text("1b5b324a0a225c09ff80")),
                ("candidates.list[0].comm", Want::Text(ESCAPES)),
                ("candidates.list[1].comm", Want::Text(LOG_WORDS)),
                ("candidates.list[1].comm_hex", Want::Absent),
            ],
        ),
        (
            "hog",
            &[
                ("oom_memcg.path", Want::Text(HOSTILE_PATH)),
                ("oom_memcg.path_hex", Want::Text("2f6f6464201b5b324a0d09225c2ff0ff2f2520c3a4")),
                ("victims[hog].cgroup.path", Want::Text(HOSTILE_PATH)),
                ("limit_chain[0].path", Want::Text(HOSTILE_PATH)),
            ],
        ),
        (
            "long-path",
            &[
                ("constraint", Want::Text("memcg")),
                ("oom_memcg.path", Want::Text(LONG_PATH)),
                ("oom_memcg.path_truncated", Want::Absent),
                ("victims[long-path].cgroup.path", Want::Text(LONG_PATH)),
                ("trigger.cgroup.path", Want::Text(LONG_PATH)),
                ("limit_chain[10].path", Want::Text("/")),
                ("limit_chain_truncated", Want::Absent),
            ],
        ),
    ],
    ..ONE_KILL
}];

/// Clears a screen, ends a line, a string and a JSON escape, and is not UTF-8.
const ESCAPES: &str = "%1B[2J%0A%22%5C%09%FF%80";

/// The text after a name in the kernel's log.
const LOG_WORDS: &str = ") total-vm:0kB,";

const HOSTILE_PATH: &str = "/odd %1B[2J%0D%09%22%5C/%F0%FF/%25 \u{e4}";

/// A name of 255 bytes, the maximum.
macro_rules! longest_name {
    ($first:literal) => {
        concat!(
            $first,
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab",
        )
    };
}

const LONG_PATH: &str = concat!(
    longest_name!("/000"),
    longest_name!("/001"),
    longest_name!("/002"),
    longest_name!("/003"),
    longest_name!("/004"),
    longest_name!("/005"),
    longest_name!("/006"),
    longest_name!("/007"),
    longest_name!("/008"),
    longest_name!("/009"),
);
