//! The kernel's own reports with and without oomwhy. They must have no trace of oomwhy.

use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER};
use crate::scenario::{Comparison, Scenario, Step};

pub(super) const ALL: &[Scenario] = &[
    Scenario { name: "same_text", ..KILLS },
    Scenario { name: "same_text_kprobe", options: &["--attach", "kprobe"], ..KILLS },
];

/// Several of each, because it is not always the same allocation of the hog that fails.
const KILLS_OF_EACH: Step = Step::Repeat { times: 4, steps: &[START_HOG] };

const KILLS: Scenario = Scenario {
    victims: &[("hog", 8)],
    steps: &[
        CONTAINER_OF_48_MIB,
        START_SLEEPER,
        // The kernel prints at most ten reports in five seconds.
        Step::Rest { seconds: 6 },
        KILLS_OF_EACH,
        Step::StopTracer,
        KILLS_OF_EACH,
        Step::StartTracer,
    ],
    comparison: Comparison::Text,
    ..ONE_KILL
};
