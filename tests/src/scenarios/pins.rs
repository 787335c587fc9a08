//! Probes that outlive the tracer: every kill is reported once, over restarts and upgrades.

use super::storms::make_cgroups;
use super::{CONTAINER_OF_48_MIB, HOG, ONE_KILL, START_HOG, killed_once};
use crate::scenario::{Process, Program, Scenario, Step, Until, Want};

const OOMWHY: &str = "/oomwhy";
const DIR: &str = "/sys/fs/bpf/oomwhy";

/// The other build of oomwhy.
const NEXT: &str = "/oomwhy.next";

/// Each kill has a cgroup of its own, so that it is a whole invocation. A process that joins while
/// the kernel chooses and prints may be in the printed table without being a candidate.
const fn cgroup(path: &'static str) -> Step {
    Step::Cgroup { path, limits: &[("memory.max", "4M")] }
}

const fn begin_kill(cgroup: &'static str) -> Step {
    Step::Start { process: Process { comm: "brief", cgroup, ..HOG }, until: Until::Started }
}

/// The kill comes after about four pauses.
const fn begin_slow_kill(cgroup: &'static str, pause_ms: u64) -> Step {
    let process = Process { comm: "brief", cgroup, pause_ms: Some(pause_ms), ..HOG };
    Step::Start { process, until: Until::Started }
}

/// Kills spread over the time in which one tracer takes over from another; then the steps that
/// upgrade it.
macro_rules! upgrade_in_storm {
    ($storm:literal, $($upgrade:expr),+) => {
        &[
            cgroup(concat!($storm, "-1")),
            cgroup(concat!($storm, "-2")),
            cgroup(concat!($storm, "-3")),
            cgroup(concat!($storm, "-4")),
            cgroup(concat!($storm, "-5")),
            cgroup(concat!($storm, "-6")),
            cgroup(concat!($storm, "-7")),
            cgroup(concat!($storm, "-8")),
            begin_slow_kill(concat!($storm, "-8"), 500),
            begin_slow_kill(concat!($storm, "-7"), 420),
            begin_slow_kill(concat!($storm, "-6"), 340),
            begin_slow_kill(concat!($storm, "-5"), 270),
            begin_slow_kill(concat!($storm, "-4"), 200),
            begin_slow_kill(concat!($storm, "-3"), 140),
            begin_slow_kill(concat!($storm, "-2"), 80),
            begin_slow_kill(concat!($storm, "-1"), 20),
            $($upgrade),+
        ]
    };
}

/// The old tracer is killed, as is the new one that takes over from it.
const UPGRADE_OF_KILLED: &[Step] = upgrade_in_storm!(
    "/killed-{n}",
    KILL_AT_WORK,
    SWAP_BUILDS,
    Step::StartTracer,
    KILL_AT_START,
    Step::StartTracer
);

/// The old tracer ends by a signal.
const UPGRADE_OF_STOPPED: &[Step] =
    upgrade_in_storm!("/stopped-{n}", Step::StopTracer, SWAP_BUILDS, Step::StartTracer);

/// Upgrades of each kind.
const fn upgrades(times: u32) -> [Step; 3] {
    [
        Step::OtherBuild { path: NEXT },
        Step::Repeat { times, steps: UPGRADE_OF_KILLED },
        Step::Repeat { times, steps: UPGRADE_OF_STOPPED },
    ]
}

/// Three kills while tracers are killed and started. No tracer runs at the second kill.
const RESTARTS: &[Step] = &[
    cgroup("/storm-{n}-1"),
    cgroup("/storm-{n}-2"),
    cgroup("/storm-{n}-3"),
    begin_kill("/storm-{n}-1"),
    KILL_AT_WORK,
    begin_kill("/storm-{n}-2"),
    Step::StartTracer,
    KILL_AT_START,
    Step::StartTracer,
    begin_kill("/storm-{n}-3"),
    KILL_AT_START,
    Step::StartTracer,
];

/// Replaces the program by the other build.
const SWAP_BUILDS: Step = Step::Program(Program {
    argv: &[
        "/bin/busybox",
        "sh",
        "-c",
        "mv /oomwhy /oomwhy.old && mv /oomwhy.next /oomwhy && mv /oomwhy.old /oomwhy.next",
    ],
    code: 0,
    says: "",
});

/// The tracer dies while it reports or waits.
const KILL_AT_WORK: Step = Step::KillTracer { within_ms: 80, once_ready: true };

/// The tracer dies while it starts, or soon after.
const KILL_AT_START: Step = Step::KillTracer { within_ms: 700, once_ready: false };

const PINNED: Scenario = Scenario {
    options: &["--pin", DIR],
    unpin: Some(Program { argv: &[OOMWHY, "unpin", DIR], code: 0, says: "programs detached" }),
    ..ONE_KILL
};

/// Pins two more sets of probes, of which one reads no command lines, and leaves them.
const LEAVE_TWO: &str = r#"
for options in "--pin /sys/fs/bpf/secretive --no-cmdline" "--pin /sys/fs/bpf/open"; do
    >/tmp/said # so that the loop does not see the line of the tracer before
    /oomwhy $options -o json >/dev/null 2>>/tmp/said &
    n=0
    until /bin/busybox grep -q ^Tracing /tmp/said; do
        n=$((n + 1)); [ $n -lt 300 ] || exit 1
        /bin/busybox sleep 0.2
    done
    kill -9 $!
    wait
done"#;

/// A tracer that wants command lines has only those that are in the ring.
const FIND_TWO: &str = r#"
for dir in secretive open; do
    report=$(/bin/busybox timeout 60 /oomwhy --pin /sys/fs/bpf/$dir -o json --count 1 2>/dev/null)
    case "$report" in
    *'"comm":"hog"'*'"cmdline":'*) echo "$dir: a command line" ;;
    *'"comm":"hog"'*) echo "$dir: none" ;;
    *) echo "$dir: no report"; exit 1 ;;
    esac
    /oomwhy unpin /sys/fs/bpf/$dir >/dev/null 2>&1 || exit 1
done"#;

/// Starts a tracer that ends after one report, once the one before has ended.
macro_rules! start_pinned {
    ($options:literal, $report:literal) => {
        Step::Program(Program {
            argv: &[
                "/bin/busybox",
                "sh",
                "-c",
                concat!(
                    "fail() { /bin/busybox cat /tmp/said; exit 1; }\n",
                    "n=0\n",
                    "pid=$(/bin/busybox cat /tmp/pid 2>/dev/null || echo none)\n",
                    "while [ -e /proc/$pid/exe ]; do\n",
                    "    n=$((n + 1)); [ $n -lt 100 ] || fail\n",
                    "    /bin/busybox sleep 0.2\n",
                    "done\n",
                    "/oomwhy --pin /sys/fs/bpf/tier -o json --count 1 ",
                    $options,
                    " >",
                    $report,
                    " 2>/tmp/said &\n",
                    "echo $! >/tmp/pid\n",
                    "n=0\n",
                    "until /bin/busybox grep ^Tracing /tmp/said; do\n",
                    "    n=$((n + 1)); [ $n -lt 100 ] || fail\n",
                    "    /bin/busybox sleep 0.2\n",
                    "done"
                ),
            ],
            code: 0,
            says: "(tracepoint)",
        })
    };
}

/// Waits for both reports. Their tier, their hooks and the fields that their tier does not have
/// must be the same. Other missing fields depend on how soon the victim is gone from /proc.
const COMPARE_SOURCES: &str = r#"
n=0
until [ -s /tmp/first ] && [ -s /tmp/second ]; do
    n=$((n + 1)); [ $n -lt 300 ] || exit 1
    /bin/busybox sleep 0.2
done
/oomwhy unpin /sys/fs/bpf/tier || exit 1
tier='"source":{"tier":"tracepoint","hooks":{[^}]*}'
missing='"field":"[^"]*","why":"tier tracepoint[^"]*"'
for report in first second; do
    /bin/busybox grep -o "$tier" /tmp/$report >/tmp/$report.source || exit 1
    /bin/busybox grep -o "$missing" /tmp/$report >>/tmp/$report.source
done
/bin/busybox grep -q '"field":"limit_chain"' /tmp/first.source || exit 1
/bin/busybox cmp /tmp/first.source /tmp/second.source && echo the same && exit
/bin/busybox cat /tmp/first /tmp/second
exit 1"#;

/// A kill before and after new cgroups, while no tracer reads the pinned rings.
macro_rules! new_cgroups {
    ($count:literal) => {
        &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup { path: "/storm", limits: &[] },
            KILL_AT_WORK,
            START_HOG,
            make_cgroups($count),
            Step::AwaitDeaths,
            START_HOG,
            Step::StartTracer,
        ]
    };
}

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "restarts",
        victims: &[("brief", 51)],
        steps: &[Step::Repeat { times: 17, steps: RESTARTS }],
        ..PINNED
    },
    Scenario {
        name: "few_restarts",
        short_form_of: Some("restarts"),
        victims: &[("brief", 12)],
        steps: &[Step::Repeat { times: 4, steps: RESTARTS }],
        ..PINNED
    },
    // Twenty upgrades while kills come.
    Scenario { name: "upgrades", victims: &[("brief", 160)], steps: &upgrades(10), ..PINNED },
    Scenario {
        name: "few_upgrades",
        short_form_of: Some("upgrades"),
        victims: &[("brief", 32)],
        steps: &upgrades(2),
        ..PINNED
    },
    // Reports are the same whether their tracer attached the probes or found them pinned.
    Scenario {
        name: "pinned_tier",
        victims: &[("hog", 2)],
        steps: &[
            CONTAINER_OF_48_MIB,
            start_pinned!("--attach tracepoint", "/tmp/first"),
            START_HOG,
            start_pinned!("", "/tmp/second"),
            START_HOG,
            Step::Program(Program {
                argv: &["/bin/busybox", "sh", "-c", COMPARE_SOURCES],
                code: 0,
                says: "the same",
            }),
        ],
        ..ONE_KILL
    },
    // Probes of an older wire version are reported to their end and replaced. Probes of an unknown
    // one are refused and left as they are.
    Scenario {
        name: "left_behind",
        victims: &[("hog", 4)],
        steps: &[
            CONTAINER_OF_48_MIB,
            START_HOG,
            Step::Program(Program {
                argv: &[OOMWHY, "--pin", DIR],
                code: 1,
                says: "another oomwhy is using",
            }),
            KILL_AT_WORK,
            Step::Program(Program {
                argv: &[
                    "/bin/busybox",
                    "sh",
                    "-c",
                    "mv /sys/fs/bpf/oomwhy/oomwhy-* /sys/fs/bpf/oomwhy/oomwhy-2-0",
                ],
                code: 0,
                says: "",
            }),
            START_HOG,
            Step::StartTracer,
            START_HOG,
            KILL_AT_WORK,
            Step::Program(Program {
                argv: &["/bin/busybox", "mkdir", "/sys/fs/bpf/oomwhy/oomwhy-9-0"],
                code: 0,
                says: "",
            }),
            Step::Program(Program {
                argv: &[OOMWHY, "--pin", DIR],
                code: 1,
                says: "drop it with `oomwhy unpin /sys/fs/bpf/oomwhy`",
            }),
            Step::Program(Program {
                argv: &["/bin/busybox", "rmdir", "/sys/fs/bpf/oomwhy/oomwhy-9-0"],
                code: 0,
                says: "",
            }),
            Step::StartTracer,
            START_HOG,
        ],
        ..PINNED
    },
    // Growth without a running tracer is read late, and the report says so.
    Scenario {
        name: "grown_meanwhile",
        steps: &[
            CONTAINER_OF_48_MIB,
            KILL_AT_WORK,
            START_HOG,
            Step::Program(Program { argv: &["/bin/busybox", "sleep", "1.5"], code: 0, says: "" }),
            Step::StartTracer,
            Step::AwaitReports { outcome: "killed", count: 1 },
        ],
        reports: &[killed_once(&[
            ("growth.stacks[0].comm", Want::Text("hog")),
            ("growth.kind", Want::Text("burst")),
        ])],
        options: &["--pin", DIR, "--growth", "--growth-above", "0%"],
        ..PINNED
    },
    // New cgroups take no room from kills while no tracer runs.
    Scenario {
        name: "new_cgroups_pinned",
        victims: &[("hog", 2)],
        steps: new_cgroups!(100_000),
        ..PINNED
    },
    Scenario {
        name: "few_new_cgroups_pinned",
        short_form_of: Some("new_cgroups_pinned"),
        victims: &[("hog", 2)],
        steps: new_cgroups!(20_000),
        ..PINNED
    },
    // A ring without a reader holds no secrets.
    Scenario {
        name: "secrets",
        steps: &[
            Step::Program(Program {
                argv: &["/bin/busybox", "sh", "-c", LEAVE_TWO],
                code: 0,
                says: "",
            }),
            CONTAINER_OF_48_MIB,
            START_HOG,
            Step::Program(Program {
                argv: &["/bin/busybox", "sh", "-c", FIND_TWO],
                code: 0,
                says: "secretive: none\nopen: a command line\n",
            }),
        ],
        ..ONE_KILL
    },
];
