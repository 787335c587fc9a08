//! Many kills, many tasks, and little time or room.

use super::{HOG, ONE_KILL};
use crate::scenario::{Process, Scenario, Step, Until};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "twenty_in_a_row",
    rounds: 20,
    victims: &["brief"],
    steps: SHORT_LIVED_STEPS,
    ..ONE_KILL
}];

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
