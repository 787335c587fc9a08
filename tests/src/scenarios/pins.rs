//! Probes that outlive the tracer: whenever it dies, every kill is reported once.

use super::{CONTAINER_OF_48_MIB, HOG, ONE_KILL, START_HOG, killed_once};
use crate::scenario::{Process, Program, Scenario, Step, Until, Want};

const OOMWHY: &str = "/oomwhy";
const DIR: &str = "/sys/fs/bpf/oomwhy";

/// Each kill has a cgroup of its own, which makes it a whole invocation: whoever joins while the
/// kernel is between the weighing and the printing is in its table, and in no choice.
const fn cgroup(path: &'static str) -> Step {
    Step::Cgroup { path, limits: &[("memory.max", "4M")] }
}

const fn begin_kill(cgroup: &'static str) -> Step {
    Step::Start { process: Process { comm: "brief", cgroup, ..HOG }, until: Until::Started }
}

/// Dies while it reports, or while it waits.
const KILL_AT_WORK: Step = Step::KillTracer { within_ms: 80, once_ready: true };

/// Dies while it starts, or soon after.
const KILL_EARLY: Step = Step::KillTracer { within_ms: 700, once_ready: false };

const PINNED: Scenario = Scenario {
    options: &["--pin", DIR],
    unpin: Some(Program { argv: &[OOMWHY, "unpin", DIR], code: 0, says: "programs detached" }),
    ..ONE_KILL
};

/// Pins other probes besides, some that read no command lines and some that do, and leaves them
/// alone.
const LEAVE_TWO: &str = r#"
for options in "--pin /sys/fs/bpf/secretive --no-cmdline" "--pin /sys/fs/bpf/open"; do
    >/tmp/said # what the one before said must not pass for what this one says
    /oomwhy $options -o json >/dev/null 2>>/tmp/said &
    n=0
    until /bin/busybox grep -q ^Tracing /tmp/said; do
        n=$((n + 1)); [ $n -lt 300 ] || exit 1
        /bin/busybox sleep 0.2
    done
    kill -9 $!
    wait
done"#;

/// Who takes them over wants command lines, and has those that the ring has.
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

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "restarts",
        victims: &[("brief", 51)],
        steps: &[Step::Repeat {
            times: 17,
            steps: &[
                cgroup("/storm-{n}-1"),
                cgroup("/storm-{n}-2"),
                cgroup("/storm-{n}-3"),
                begin_kill("/storm-{n}-1"),
                KILL_AT_WORK,
                // Nobody is there.
                begin_kill("/storm-{n}-2"),
                Step::StartTracer,
                KILL_EARLY,
                Step::StartTracer,
                begin_kill("/storm-{n}-3"),
                KILL_EARLY,
                Step::StartTracer,
            ],
        }],
        ..PINNED
    },
    // What another build has left is reported to its end, and replaced; what cannot be read is
    // refused, with a hint.
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
                    "mv /sys/fs/bpf/oomwhy/oomwhy-* \
                     /sys/fs/bpf/oomwhy/oomwhy-1-00000000deadbeef-524288",
                ],
                code: 0,
                says: "",
            }),
            START_HOG,
            Step::StartTracer,
            START_HOG,
            KILL_AT_WORK,
            Step::Program(Program {
                argv: &["/bin/busybox", "mkdir", "/sys/fs/bpf/oomwhy/oomwhy-9-0-524288"],
                code: 0,
                says: "",
            }),
            Step::Program(Program {
                argv: &[OOMWHY, "--pin", DIR],
                code: 1,
                says: "give it up with `oomwhy unpin /sys/fs/bpf/oomwhy`",
            }),
            Step::Program(Program {
                argv: &["/bin/busybox", "rmdir", "/sys/fs/bpf/oomwhy/oomwhy-9-0-524288"],
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
