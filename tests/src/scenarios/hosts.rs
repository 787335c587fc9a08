//! Privileges and environments of oomwhy: few capabilities, a container, the self-test.

use super::storms::A_KILL;
use super::{CONTAINER_OF_48_MIB, ONE_KILL, START_HOG, START_SLEEPER, WATCHER};
use crate::plan::{BOX, BUSYBOX, GUEST_OOMWHY};
use crate::scenario::{Hierarchy, Launched, Scenario, Step, Watcher};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "self_test",
        victims: &[("oomwhy-victim", 1)],
        // The parent enables the memory controller for its children.
        steps: &[CONTAINER_OF_48_MIB, Step::Launch(SELF_TEST)],
        ..ONE_KILL
    },
    Scenario {
        name: "self_test_v1",
        hierarchy: Hierarchy::V1,
        victims: &[("oomwhy-victim", 1)],
        steps: &[Step::Launch(SELF_TEST)],
        ..ONE_KILL
    },
    Scenario {
        name: "privileges",
        steps: &[
            refused(
                "no_capability",
                &["--user", ""],
                &["oomwhy: CAP_BPF and CAP_PERFMON are not held", "setcap"],
            ),
            refused(
                "no_perfmon",
                &["--user", "bpf"],
                &["oomwhy: CAP_PERFMON is not held", "setcap"],
            ),
            refused("no_bpf", &["--user", "perfmon"], &["oomwhy: CAP_BPF is not held", "setcap"]),
            Step::Launch(Launched {
                exit: "77",
                has_not: &["CAP_BPF is not held"],
                ..check(
                    "check_no_syslog",
                    &["--user", "bpf,perfmon,sys_ptrace"],
                    &["trigger.kernel_stack.symbol", "fix: hold CAP_SYSLOG"],
                )
            }),
            Step::Launch(check(
                "check_all",
                &["--user", "bpf,perfmon,syslog,sys_ptrace"],
                &["the full report is available", "CAP_SYS_RESOURCE is not held"],
            )),
            Step::WatchAs {
                launch: &["--user", "bpf,perfmon,syslog,sys_ptrace"],
                watcher: reports("needed", &["\"symbol\":\"out_of_memory\""], &[NO_SYMBOLS]),
            },
            Step::WatchAs {
                launch: &["--user", "bpf,perfmon"],
                watcher: reports("least", &[NO_SYMBOLS], &["\"symbol\":\"out_of_memory\""]),
            },
            Step::Watch(Watcher {
                args: &["-o", "json", "--store", "--dir", "/tmp/privileges"],
                ..reports("stored", &["\"symbol\":\"out_of_memory\""], &[NO_SYMBOLS])
            }),
            CONTAINER_OF_48_MIB,
            Step::Launch(Launched {
                name: "given_up",
                launch: &[],
                words: &[BUSYBOX, "sh", "-c", PRIVILEGES_OF_ALL_THREADS],
                exit: "0",
                lines: None,
                has: &[
                    "Name: oomwhy Uid: 0 ",
                    "Name: oomwhy-lookup Uid: 0 ",
                    "Name: oomwhy-history Uid: 0 ",
                    "Name: oomwhy Uid: 1000 ",
                    "Name: oomwhy-lookup Uid: 1000 ",
                    "Name: oomwhy-opener Uid: 0 ",
                    "Name: oomwhy-opener Uid: 1000 ",
                    " Adj: -1000 Data: 268435456",
                    " Adj: -999 Data: unlimited",
                    " Adj: 0 Data: unlimited",
                ],
                has_not: &["differs"],
            }),
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
    Scenario {
        name: "container",
        steps: &[
            CONTAINER_OF_48_MIB,
            Step::Cgroup { path: BOX, limits: &[] },
            Step::Launch(check(
                "check_in_container",
                &["--container"],
                &[
                    "the full report is available",
                    "run with --pid=host",
                    "run with --cgroupns=host",
                    "mount -t tracefs none /sys/kernel/tracing",
                ],
            )),
            Step::Launch(Launched {
                name: "self_test_in_container",
                launch: &["--container"],
                words: &[GUEST_OOMWHY, "check", "--self-test"],
                exit: "77",
                lines: Some(2),
                has: &["no self-test: ", "\nhint: "],
                has_not: &[],
            }),
            Step::WatchAs {
                launch: &["--container"],
                watcher: reports("in_container", &["\"symbol\":\"out_of_memory\""], &[NO_SYMBOLS]),
            },
            START_SLEEPER,
            START_HOG,
        ],
        ..ONE_KILL
    },
];

/// Prints the privileges of every thread of every oomwhy and of its opener, and marks those that
/// differ from the table in docs/privileges.md. The rows are those of root, of the plain user with
/// all capabilities, and of the one with the required two. Before 5.19 they also keep `CAP_BPF`, if
/// the kernel needs it to read maps. The oom_score_adj and the limit on data of root's tracers
/// depend on `--store`. Those of the plain user have neither, and an opener has a limit of its own.
const PRIVILEGES_OF_ALL_THREADS: &str = r#"
cd /proc
keys='^(Name|Uid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):'
root='0 0 0 0'
user='1000 1000 1000 1000'
no=0000000000000000
end="CapAmb: $no NoNewPrivs: 1 Seccomp: 2"
for status in $(pidof oomwhy oomwhy-opener | sed 's:[0-9]*:&/task/*/status:g'); do
    line=$(echo $(grep -hE "$keys" $status))
    task=${status%/status}
    set -- $(grep '^Max data size' $task/limits)
    oom="Adj: $(cat $task/oom_score_adj) Data: $4"
    case "$line $(tr '\0' ' ' < $task/cmdline) $oom" in
    "Name: oomwhy-opener Uid: $root "*" Adj: -1000 Data: 67108864") ;;
    "Name: oomwhy-opener Uid: $root "*" Adj: -999 Data: 67108864") ;;
    "Name: oomwhy-opener Uid: $user "*" Adj: 0 Data: 67108864") ;;
    "Name: oomwhy-opener "*) echo "differs from the table:" ;;
    *"Uid: $root "*" --store "*" Adj: -999 Data: unlimited") ;;
    *"Uid: $root "*" --store "*) echo "differs from the table:" ;;
    *"Uid: $root "*" Adj: -1000 Data: 268435456") ;;
    *"Uid: $user "*" Adj: 0 Data: unlimited") ;;
    *) echo "differs from the table:" ;;
    esac
    case "$line" in
    "Name: oomwhy-opener Uid: $root CapInh: $no CapPrm: 0000000000080004 CapEff: 0000000000080004 CapBnd: $no $end") ;;
    "Name: oomwhy-opener Uid: $user CapInh: $no CapPrm: 0000000000080000 CapEff: 0000000000080000 CapBnd: "*" $end") ;;
    "Name: oomwhy-opener Uid: $user CapInh: $no CapPrm: $no CapEff: $no CapBnd: "*" $end") ;;
    "Name: oomwhy-opener "*) echo "differs from the table:" ;;
    *"Uid: $root CapInh: 0000000400080004 CapPrm: 000001"[08]"400080004 CapEff: 000001"[08]"400080004 CapBnd: $no $end") ;;
    *"Uid: $user CapInh: 0000000400080000 CapPrm: 000000"[08]"400080000 CapEff: 000000"[08]"400080000 CapBnd: "*" $end") ;;
    *"Uid: $user CapInh: $no CapPrm: 000000"[08]"000000000 CapEff: 000000"[08]"000000000 CapBnd: "*" $end") ;;
    *) echo "differs from the table:" ;;
    esac
    echo "$line $oom"
done"#;

const NO_SYMBOLS: &str = "{\"field\":\"trigger.kernel_stack.symbol\"";

const SELF_TEST: Launched = Launched {
    name: "self_test",
    launch: &[],
    words: &[GUEST_OOMWHY, "check", "--self-test"],
    exit: "0",
    lines: None,
    has: &[
        "while fentry traced",
        "ok     victims.pid ",
        "ok     victims.cgroup.path ",
        "ok     oom_memcg.max_bytes ",
        "ok     victims.anon_rss_bytes ",
        "the report matches the test kill",
    ],
    has_not: &["WRONG", "not reported"],
};

/// Runs `oomwhy check`, which must find nothing to fix.
const fn check(
    name: &'static str,
    launch: &'static [&'static str],
    has: &'static [&'static str],
) -> Launched {
    let (words, has_not) = (&[GUEST_OOMWHY, "check"], &["fix: "]);
    Launched { name, launch, words, exit: "0", lines: None, has, has_not }
}

/// Expects lines that name the missing capability, the fix, and the alternative: the kernel's log.
const fn refused(
    name: &'static str,
    launch: &'static [&'static str],
    has: &'static [&'static str],
) -> Step {
    let words = &[GUEST_OOMWHY];
    Step::Launch(Launched { name, launch, words, exit: "77", lines: Some(4), has, has_not: &[] })
}

/// Expects the complete report of one kill as JSON.
const fn reports(
    name: &'static str,
    has: &'static [&'static str],
    has_not: &'static [&'static str],
) -> Watcher {
    Watcher { name, args: &["-o", "json"], lines: (A_KILL, 1, 1), has, has_not, ..WATCHER }
}
