//! Many kills, many tasks, many watchers, a small ring.

use super::{
    CONTAINER, CONTAINER_OF_48_MIB, HOG, ONE_KILL, SLEEPER, START_HOG, START_SLEEPER, WATCHER,
    killed_once, start_preferred,
};
use crate::scenario::{Comparison, Process, Program, Scenario, Step, Until, Want, Watcher};
use crate::workload::Work;

/// A group of this many processes, below this limit, is killed while oomwhy is stopped.
macro_rules! group_kill {
    ($limit:literal, $count:literal) => {
        &[
            Step::Cgroup {
                path: "/group",
                limits: &[("memory.max", $limit), ("memory.oom.group", "1")],
            },
            Step::Start {
                process: Process {
                    comm: "crowd",
                    cgroup: "/group",
                    work: Work::Crowd { count: $count },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
            Step::PauseTracer,
            Step::Write { file: "/sys/fs/cgroup/group/memory.max", value: "1M" },
            Step::AwaitDeaths,
            Step::ResumeTracer,
        ]
    };
}

/// A kill before and after new cgroups, while oomwhy is stopped.
macro_rules! new_cgroups {
    ($count:literal) => {
        &[
            CONTAINER_OF_48_MIB,
            Step::PauseTracer,
            Step::Cgroup { path: "/storm", limits: &[] },
            START_HOG,
            make_cgroups($count),
            Step::AwaitDeaths,
            START_HOG,
            Step::ResumeTracer,
        ]
    };
}

pub(super) const ALL: &[Scenario] = &[
    // More kills than the kernel's rate limit lets it print, each in a cgroup that is gone before a
    // program could look at it.
    Scenario {
        name: "many_in_a_row",
        victims: &[("brief", 500)],
        steps: &[Step::Repeat { times: 500, steps: SHORT_LIVED }],
        ..ONE_KILL
    },
    Scenario {
        name: "hundred_in_a_row",
        short_form_of: Some("many_in_a_row"),
        victims: &[("brief", 100)],
        steps: &[Step::Repeat { times: 100, steps: SHORT_LIVED }],
        ..ONE_KILL
    },
    // The kernel admits one invocation at a time. The two kills must not be mixed up.
    Scenario {
        name: "two_at_once",
        victims: &[("left", 5), ("right", 5)],
        steps: &[Step::Repeat {
            times: 5,
            steps: &[
                Step::Cgroup { path: "/left-{n}", limits: &[("memory.max", "16M")] },
                Step::Cgroup { path: "/right-{n}", limits: &[("memory.max", "16M")] },
                Step::Start {
                    process: Process { comm: "left", cgroup: "/left-{n}", ..HOG },
                    until: Until::Started,
                },
                Step::Start {
                    process: Process { comm: "right", cgroup: "/right-{n}", ..HOG },
                    until: Until::Killed,
                },
            ],
        }],
        ..ONE_KILL
    },
    // A read of oom_score makes the kernel evaluate tasks, concurrently and without oom_lock.
    Scenario {
        name: "score_readers",
        victims: &[("hog", 3)],
        steps: &[
            CONTAINER_OF_48_MIB,
            START_SLEEPER,
            Step::Start { process: reader("reader-1"), until: Until::Ready },
            Step::Start { process: reader("reader-2"), until: Until::Ready },
            START_HOG,
            START_HOG,
            START_HOG,
            Step::AwaitScoreReads { count: 100_000 },
        ],
        ..ONE_KILL
    },
    // There are far more candidates than a report has room for.
    Scenario {
        name: "crowd",
        steps: &[
            Step::Cgroup { path: "/crowd", limits: &[("memory.max", "512M")] },
            Step::Start {
                process: Process {
                    comm: "crowd",
                    cgroup: "/crowd",
                    work: Work::Crowd { count: 2000 },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
            start_preferred("/crowd", Work::Anon { mib: 512 }, Until::Killed),
        ],
        reports: &[killed_once(&[
            ("candidates.considered", Want::Number(2002)),
            ("candidates.recorded", Want::Number(32)),
            ("candidates.list[0].comm", Want::Text("hog")),
        ])],
        ..ONE_KILL
    },
    // Equal tasks have the most points, far more than a report has room for. The kernel chooses the
    // last one of them, and the report has it.
    Scenario {
        name: "equals",
        victims: &[("exe", 1)],
        steps: &[
            Step::Cgroup { path: "/equals", limits: &[] },
            Step::Start {
                process: Process {
                    comm: "equals",
                    cgroup: "/equals",
                    oom_score_adj: 1000,
                    work: Work::Children { count: 100, mib: 1 },
                    ..SLEEPER
                },
                until: Until::Ready,
            },
            Step::Write { file: "/proc/sysrq-trigger", value: "f" },
        ],
        reports: &[killed_once(&[
            // The children, their parent, and the machine's own processes.
            ("candidates.considered", Want::AtLeast(101)),
            ("candidates.recorded", Want::Number(32)),
            ("candidates.list[0].comm", Want::Text("exe")),
        ])],
        ..ONE_KILL
    },
    // As many processes as on a big host. The forks take most of the time, so only two kernels run
    // this.
    Scenario {
        name: "multitude",
        steps: &kill_in_multitude(10_000),
        reports: &[killed_once(&chosen_of_more_than(10_000))],
        ..ONE_KILL
    },
    Scenario {
        name: "thousands",
        short_form_of: Some("multitude"),
        steps: &kill_in_multitude(3000),
        reports: &[killed_once(&chosen_of_more_than(3000))],
        ..ONE_KILL
    },
    // Many small processes outgrow one cgroup at once.
    BURST,
    Scenario { name: "burst_kprobe", options: &["--attach", "kprobe"], ..BURST },
    BURST_OF_10_000,
    Scenario { name: "burst_of_10000_kprobe", options: &["--attach", "kprobe"], ..BURST_OF_10_000 },
    // A group is killed as a whole while oomwhy is stopped. It has more members than a report
    // describes in detail, but the report lists each of them.
    Scenario {
        name: "big_group",
        comparison: Comparison::Burst,
        victims: &[("busybox", 601)],
        steps: group_kill!("256M", 600),
        ..ONE_KILL
    },
    // A group is killed as a whole while oomwhy is stopped. It has more members than the ring of
    // kills has room for. The probes count the others.
    Scenario {
        name: "lost_kills",
        comparison: Comparison::LostKills,
        victims: &[("busybox", 9001)],
        steps: group_kill!("2G", 9000),
        ..ONE_KILL
    },
    // The maps of a machine with two CPUs, and of the same machine with 255 possible CPUs.
    Scenario { name: "maps", steps: &[CONTAINER_OF_48_MIB, MAPS, START_HOG], ..ONE_KILL },
    Scenario {
        name: "maps_of_255_cpus",
        steps: &[CONTAINER_OF_48_MIB, HAS_255_CPUS, MAPS_OF_255_CPUS, START_HOG],
        ..ONE_KILL
    },
    // New cgroups take no room from kills, while oomwhy is stopped or gone.
    Scenario { name: "new_cgroups", steps: new_cgroups!(100_000), ..NEW_CGROUPS },
    Scenario {
        name: "few_new_cgroups",
        short_form_of: Some("new_cgroups"),
        steps: new_cgroups!(20_000),
        ..NEW_CGROUPS
    },
    // oomwhy is stopped for a while and its ring is small. Details that do not fit are reported as
    // lost, no kill is, and later reports are complete.
    Scenario {
        name: "small_ring",
        options: &["--ring-size", "128KiB"],
        comparison: Comparison::Losses,
        victims: &[("lost", 71), ("hog", 1)],
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup { path: "/lost", limits: &[("memory.max", "4M")] },
            // From then on the number of records is compared.
            Step::Start {
                process: Process { comm: "lost", cgroup: "/lost", ..HOG },
                until: Until::Killed,
            },
            Step::AwaitReports { outcome: "killed", count: 1 },
            Step::PauseTracer,
            Step::Repeat {
                times: 70,
                steps: &[Step::Start {
                    process: Process { comm: "lost", cgroup: "/lost", ..HOG },
                    until: Until::Killed,
                }],
            },
            Step::ResumeTracer,
            // Wait until the kernel's rate limit lets it print a complete report again.
            Step::Rest { seconds: 6 },
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "watchers",
        victims: &[("hog", 1), ("other", 1)],
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup { path: "/elsewhere", limits: &[("memory.max", "16M")] },
            START_SLEEPER,
            Step::Watch(Watcher {
                name: "events",
                args: &["-o", "events"],
                replays: true,
                // Each kill has 16 records: the compact one, seven of the invocation, one of its
                // trigger, four of its victim and three of the victim's end. A retry in between
                // adds more.
                lines: ("{\"boottime_ns\"", 32, 42),
                has: &["\"hog\"", "\"other\"", "[\"kubepods\",\"pod1234\",\"ctr-app\"]"],
                ..EVERYTHING
            }),
            Step::Watch(Watcher {
                name: "without-command-lines",
                args: &["-o", "json", "--no-cmdline"],
                has: &["/init", "\"parents\""],
                has_not: &["/bin/hog", "\"cmdline\""],
                ..EVERYTHING
            }),
            Step::Watch(Watcher {
                name: "masked",
                args: &["-o", "json", "--redact", "--comm (\\S+)"],
                replays: true,
                has: &["\"--comm\",\"***\""],
                ..EVERYTHING
            }),
            Step::Watch(Watcher {
                name: "count",
                args: &["-o", "json", "--count", "1"],
                ends: true,
                lines: (A_KILL, 1, 1),
                has: &["hog"],
                has_not: &["other"],
                ..EVERYTHING
            }),
            Step::Watch(Watcher {
                name: "store",
                args: &["--store", "--dir", HISTORY, "--count", "2"],
                ends: true,
                lines: ("victim   ", 2, 2),
                has: &[
                    "killed hog[",
                    "killed other[",
                    CONTAINER,
                    "/elsewhere",
                    "48 MiB",
                    "/bin/hog",
                ],
                ..EVERYTHING
            }),
            // A full disk costs the output its reports, not the history.
            Step::Watch(Watcher {
                name: "full-disk",
                args: &["--output-file", "/dev/full", "--store", "--dir", HISTORY_OF_FULL_DISK],
                lines: (A_KILL, 0, 0),
                ..EVERYTHING
            }),
            filter("cgroup", &["-o", "json", "--cgroup", "/kubepods/*"], &["hog"], &["other"]),
            filter("comm", &["-o", "json", "--comm", "other"], &["other"], &["\"hog\""]),
            Step::Watch(Watcher {
                name: "pid-of-a-bystander",
                args: &["-o", "json", "-p", "{pid:sleeper}"],
                replays: true,
                lines: (A_KILL, 0, 0),
                ..EVERYTHING
            }),
            START_HOG,
            Step::Start {
                process: Process { comm: "other", cgroup: "/elsewhere", ..HOG },
                until: Until::Killed,
            },
            Step::Run(Watcher {
                name: "list",
                args: &["list", "--dir", HISTORY, "-S", "1 hour ago"],
                lines: ("20", 2, 2),
                has: &["LIMIT-OWNER", " hog ", " other ", CONTAINER, "/elsewhere", "/48 MiB"],
                ..EVERYTHING
            }),
            Step::Run(Watcher {
                name: "list-of-full-disk",
                args: &["list", "--dir", HISTORY_OF_FULL_DISK],
                lines: ("20", 2, 2),
                has: &[" hog ", " other "],
                ..EVERYTHING
            }),
            Step::Run(Watcher {
                name: "show",
                args: &["show", "--dir", HISTORY, "/elsewhere"],
                lines: ("victim   ", 1, 1),
                has: &["killed other[", "/elsewhere"],
                has_not: &["hog["],
                ..EVERYTHING
            }),
        ],
        ..ONE_KILL
    },
];

/// A kill in a cgroup that is removed at once.
const SHORT_LIVED: &[Step] = &[
    Step::Cgroup { path: "/short-lived-{n}", limits: &[("memory.max", "1M")] },
    Step::Start {
        process: Process { comm: "brief", cgroup: "/short-lived-{n}", ..HOG },
        until: Until::Killed,
    },
    Step::RemoveCgroup { path: "/short-lived-{n}" },
];

/// The victim does not have to fill the machine.
const fn kill_in_multitude(count: usize) -> [Step; 4] {
    let work = Work::Crowd { count };
    [
        Step::Cgroup { path: "/multitude", limits: &[] },
        Step::Start {
            process: Process { comm: "crowd", cgroup: "/multitude", work, ..SLEEPER },
            until: Until::Ready,
        },
        start_preferred("/multitude", Work::Anon { mib: 8 }, Until::Ready),
        Step::Write { file: "/proc/sysrq-trigger", value: "f" },
    ]
}

/// The candidates are the crowd, its shell, the hog, and the machine's own processes.
const fn chosen_of_more_than(count: i64) -> [(&'static str, Want); 3] {
    [
        ("candidates.considered", Want::AtLeast(count + 2)),
        ("candidates.recorded", Want::Number(32)),
        ("candidates.list[0].comm", Want::Text("hog")),
    ]
}

/// 400 processes that wait in a frozen cgroup, and then outgrow it together.
const BURST: Scenario = Scenario {
    name: "burst",
    comparison: Comparison::Burst,
    victims: &[("burst", 400)],
    steps: &[FROZEN_CGROUP, START_400, Step::Rest { seconds: 2 }, THAW, Step::AwaitDeaths],
    ..ONE_KILL
};

/// The same kills again and again, without a pause.
const BURST_OF_10_000: Scenario = Scenario {
    name: "burst_of_10000",
    comparison: Comparison::Burst,
    victims: &[("burst", 10_000)],
    steps: &[
        FROZEN_CGROUP,
        Step::Repeat {
            times: 25,
            steps: &[FREEZE, START_400, Step::Rest { seconds: 2 }, THAW, Step::AwaitDeaths],
        },
    ],
    ..ONE_KILL
};

const FROZEN_CGROUP: Step =
    Step::Cgroup { path: "/burst", limits: &[("memory.max", "48M"), ("cgroup.freeze", "1")] };

const START_400: Step = Step::Repeat {
    times: 400,
    steps: &[Step::Start {
        process: Process { comm: "burst", cgroup: "/burst", ..HOG },
        until: Until::Started,
    }],
};

const FREEZE: Step = Step::Write { file: "/sys/fs/cgroup/burst/cgroup.freeze", value: "1" };
const THAW: Step = Step::Write { file: "/sys/fs/cgroup/burst/cgroup.freeze", value: "0" };

/// Adds up the areas of /proc/vmallocinfo that a function of BPF has allocated, and compares the
/// sum with a limit. Most of it are maps. 6.1 and 6.12 list ring buffers, twice as large because
/// their pages are mapped twice; 5.10 and 7.3 do not. `memlock` of a map's fdinfo is an estimate
/// with parts per CPU that nothing allocates (5.10), or leaves ring buffers out (6.1).
macro_rules! maps_take_at_most {
    ($kib:literal) => {
        Step::Program(Program {
            argv: &[
                "/bin/busybox",
                "sh",
                "-c",
                concat!(
                    "kib=$(/bin/busybox awk '/ bpf_/ { sum += $2 } END { print int(sum / 1024) }' ",
                    "/proc/vmallocinfo)\n",
                    "echo \"the maps take $kib KiB\"\n",
                    "[ $kib -gt 500 ] && [ $kib -le ",
                    $kib,
                    " ]"
                ),
            ],
            code: 0,
            says: "the maps take",
        })
    };
}

/// 6.12 has 2,604 KiB.
const MAPS: Step = maps_take_at_most!("2700");
/// One and a half times as much.
const MAPS_OF_255_CPUS: Step = maps_take_at_most!("3900");

const HAS_255_CPUS: Step = Step::Program(Program {
    argv: &["/bin/busybox", "cat", "/sys/devices/system/cpu/possible"],
    code: 0,
    says: "0-254",
});

/// Makes and removes cgroups.
pub(super) const fn make_cgroups(count: usize) -> Step {
    Step::Start {
        process: Process {
            comm: "maker",
            cgroup: "/storm",
            work: Work::Cgroups { count },
            ..SLEEPER
        },
        until: Until::Started,
    }
}

const NEW_CGROUPS: Scenario = Scenario { victims: &[("hog", 2)], ..ONE_KILL };

/// The directory in which one watcher stores its reports.
const HISTORY: &str = "/run/history";
const HISTORY_OF_FULL_DISK: &str = "/run/history-of-full-disk";

/// The start of a report as JSON.
pub(super) const A_KILL: &str = "{\"type\":\"oom\"";

const EVERYTHING: Watcher = Watcher { lines: (A_KILL, 2, 2), ..WATCHER };

/// Starts an oomwhy with a filter that one of the two kills matches.
const fn filter(
    name: &'static str,
    args: &'static [&'static str],
    has: &'static [&'static str],
    has_not: &'static [&'static str],
) -> Step {
    let lines = (A_KILL, 1, 1);
    Step::Watch(Watcher { name, args, replays: true, lines, has, has_not, ..WATCHER })
}

const fn reader(comm: &'static str) -> Process {
    Process { comm, cgroup: "/", oom_score_adj: -1000, work: Work::ReadScores, ..SLEEPER }
}
