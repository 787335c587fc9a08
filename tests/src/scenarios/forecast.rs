//! `oomwhy risk` while a growth recorder runs: the time to the limit, and the growing processes.

use super::{HOG, ONE_KILL, WATCHER, killed_once};
use crate::plan::GUEST_OOMWHY;
use crate::scenario::{Hierarchy, Launched, Process, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

const LEAKING: &str = "/leaking";

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "forecast",
        steps: &[Step::Cgroup { path: LEAKING, limits: &[("memory.max", "80M")] }, LEAKS],
        ..FORECAST
    },
    Scenario {
        name: "forecast_v1",
        hierarchy: Hierarchy::V1,
        steps: &[
            Step::Cgroup { path: LEAKING, limits: &[("memory.limit_in_bytes", "80M")] },
            LEAKS,
        ],
        ..FORECAST
    },
];

const FORECAST: Scenario = Scenario {
    reports: &[killed_once(&[("growth.stacks[0].comm", Want::Text("hog"))])],
    options: &["--growth", "--growth-above", "0%"],
    ..ONE_KILL
};

const LEAKS: Step = Step::Repeat {
    times: 1,
    steps: &[
        Step::Start {
            process: Process {
                cgroup: LEAKING,
                // The growth takes five seconds.
                pause_ms: Some(60),
                work: Work::Anon { mib: 200 },
                ..HOG
            },
            until: Until::Started,
        },
        Step::Rest { seconds: 2 },
        Step::Run(AT_ONCE),
        Step::Launch(TABLE),
        Step::Launch(WITHOUT_RIGHTS),
    ],
};

/// With an interval of an hour, `risk` must use the recorder: its first reading is the only one.
const AT_ONCE: Watcher = Watcher {
    name: "risk",
    args: &["risk", "-o", "json", "--cgroup", LEAKING, "--interval", "1h"],
    ends: true,
    lines: ("{\"schema\":1,\"type\":\"risk\"", 1, 1),
    has: &["\"source\":\"recorder\"", "\"above_percent\":0", "\"growing_since\":"],
    has_not: &["recorder_unused"],
    ..WATCHER
};

const TABLE: Launched = Launched {
    name: "risk_table",
    launch: &[],
    words: &[GUEST_OOMWHY, "risk", "--cgroup", LEAKING, "--interval", "1h"],
    exit: "0",
    lines: Some(4),
    has: &["growth is from the recorder of oomwhy[", "\n/leaking ", " MiB: "],
    has_not: &["CAP_SYS_ADMIN"],
};

/// Without the rights to find the recorder, `risk` prints a hint and uses readings.
const WITHOUT_RIGHTS: Launched = Launched {
    name: "risk_without_rights",
    launch: &["--user", ""],
    words: &[GUEST_OOMWHY, "risk", "-o", "json", "--cgroup", LEAKING, "--interval", "300ms"],
    exit: "0",
    lines: Some(2),
    has: &[
        "CAP_SYS_ADMIN",
        "\"source\":\"readings\"",
        "\"recorder_unused\":",
        "\"time_to_limit\":",
    ],
    has_not: &["growing_since", "growers"],
};
