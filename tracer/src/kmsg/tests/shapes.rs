//! Logs with prefixes, cut logs, logs of many kills, and logs of several CPUs.

use super::{check_missing, fixture, only, reports, reports_in};
use crate::{
    kmsg::Context,
    model::report::{Constraint, OomReport, Outcome, Reason},
};

/// The time and the words of each line.
fn lines(log: &str) -> impl Iterator<Item = (&str, &str)> {
    log.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] "))
}

fn with_prefix(log: &str, prefix: impl Fn(&str) -> String) -> String {
    let lines = lines(log).map(|(time, words)| format!("{}{words}\n", prefix(time)));
    lines.collect::<Vec<_>>().concat()
}

/// Removes the fields that depend on the prefix.
fn bare(mut report: OomReport) -> OomReport {
    (report.id, report.time, report.host) = (String::new(), None, None);
    report.source.missing.retain(|missing| missing.field != "time");
    report
}

#[test]
fn report_does_not_depend_on_prefixes() {
    let raw = |time: &str| format!("6,1,{},-;", time.trim().replace('.', ""));
    for name in ["5.10-global", "6.1-memcg-v2", "7.3-memcg-v2", "6.12-oom-group"] {
        let expected = bare(only(fixture(name)));
        for prefix in [
            |_: &str| String::new(),
            |time: &str| format!("[{time}][  T118] "),
            |_: &str| "[Tue Nov 25 17:00:00 2025] ".to_owned(),
            |_: &str| "Nov 25 17:00:00 host kernel: ".to_owned(),
            |time: &str| format!("Nov 25 17:00:00 host kernel: [{time}] "),
            |_: &str| "2025-11-25T17:00:00+0100 host kernel: ".to_owned(),
            |time: &str| format!("[{time}] host kernel: "),
        ] {
            let log = with_prefix(fixture(name), prefix);
            assert_eq!(bare(only(&log)), expected, "{name}: {}", log.lines().next().unwrap());
        }
        assert_eq!(bare(only(with_prefix(fixture(name), raw))), expected, "{name}");
        let windows = fixture(name).replace('\n', "\r\n");
        assert_eq!(bare(only(windows)), expected, "{name}");
    }
}

#[test]
fn time_and_host_come_from_the_log() {
    let log = with_prefix(fixture("7.3-memcg-v2"), |_| {
        "2025-11-25T17:00:00+0100 box kernel: ".to_owned()
    });
    let report = only(log);
    assert_eq!(report.time.unwrap().to_string(), "2025-11-25T16:00:00Z");
    assert_eq!((report.host.as_deref(), report.boottime_ns), (Some("box"), None));
    let report = only(fixture("7.3-memcg-v2"));
    assert_eq!(report.time, None);
    check_missing(&report, "time", "after the start of the kernel");
    let log = with_prefix(fixture("7.3-memcg-v2"), |_| "Nov 25 17:00:00 box kernel: ".to_owned());
    check_missing(&only(log), "time", "Nov 25 17:00:00");
    let offsets = Context {
        log_offset_ns: Some(1_000_000_000_000),
        realtime_offset_ns: Some(1_000_000_000_000),
        ..Context::default()
    };
    let [report] = reports_in(&offsets, fixture("7.3-memcg-v2")).try_into().unwrap();
    assert_eq!(report.time.unwrap().as_nanosecond(), 1_007_810_164_000);
    assert_eq!(report.boottime_ns, Some(7_810_164_000));
}

#[test]
fn many_kills_are_reported_in_order() {
    let mut log = String::new();
    for _ in 0..20 {
        log += fixture("5.10-memcg-v2");
        log += fixture("7.3-global");
        log += "[   99.000000] eth0: link is down\n";
    }
    let reports = reports(log);
    assert_eq!(reports.len(), 40);
    for (index, report) in reports.iter().enumerate() {
        assert_eq!(report.outcome, Outcome::Killed);
        assert_eq!(report.victims[0].pid, [95, 126][index % 2]);
    }
}

#[test]
fn kill_without_header_is_reported() {
    let line = "[  1.5] Memory cgroup out of memory: Killed process 7 (a b) total-vm:8kB, \
        anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:40kB oom_score_adj:-5";
    let report = only(line);
    assert_eq!((report.outcome, report.constraint), (Outcome::Killed, Some(Constraint::Memcg)));
    let [victim] = report.victims.as_slice() else { panic!("{report:?}") };
    assert_eq!((victim.pid, victim.comm.as_deref()), (7, Some("a b")));
    assert_eq!((victim.uid, victim.oom_score_adj), (Some(7), Some(-5)));
    assert_eq!((victim.anon_rss_bytes, victim.pgtables_bytes), (Some(4096), Some(40960)));
    assert_eq!((victim.swap_bytes, victim.points), (None, None));
    assert!(report.trigger.is_none() && report.candidates.is_none() && report.oom_memcg.is_none());
    assert_eq!((report.totalpages, report.page_size), (None, None));
    check_missing(&report, "trigger", "ten reports in five seconds");
    check_missing(&report, "victims.tid", "thread");
}

#[test]
fn members_of_a_large_group_are_one_report() {
    let killed = |pid: u32, time: &str| {
        format!(
            "[{time}] Memory cgroup out of memory: Killed process {pid} (b) total-vm:8kB, \
             anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:40kB oom_score_adj:0\n"
        )
    };
    let group = "[   99.0] Tasks in /a are going to be killed due to memory.oom.group set\n";
    // Half a second between two members, five seconds in all.
    let members = (0..10).map(|n| killed(50 + n, &format!("   {}.{}", 99 + n / 2, n % 2 * 5)));
    let log: String = [killed(49, "   99.0"), group.to_owned()]
        .into_iter()
        .chain(members)
        .chain([killed(60, "  109.0")])
        .collect();
    let victims: Vec<_> = reports(log).iter().map(|report| report.victims.len()).collect();
    assert_eq!(victims, [11, 1]);
}

#[test]
fn kill_without_header_is_not_added_to_earlier_report() {
    let killed = |pid: i32| {
        format!(
            "[   99.5] Memory cgroup out of memory: Killed process {pid} (b) total-vm:8kB, \
             anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:40kB oom_score_adj:0\n"
        )
    };
    for name in ["7.3-memcg-v2", "7.3-oom-group"] {
        let log = format!("{}{}{}", fixture(name), killed(900), killed(901));
        let reports = reports(log);
        let victims: Vec<usize> = reports.iter().map(|report| report.victims.len()).collect();
        assert_eq!(victims[1..], [1, 1], "{name}");
        assert_eq!(reports.len(), 3, "{name}");
    }
    // A group without a header is one report.
    let group = "[   99.6] Tasks in /a are going to be killed due to memory.oom.group set\n";
    let log = format!("{}{group}{}{}", killed(900), killed(901), killed(900));
    assert_eq!(only(log).victims.len(), 2);
}

#[test]
fn cut_log_gives_the_rest_of_the_report() {
    let log = fixture("7.3-memcg-v2");
    let n_lines = log.lines().count();
    for cut in 0..n_lines {
        let tail = log.lines().skip(cut).collect::<Vec<_>>().join("\n");
        let report = only(&tail);
        assert_eq!((report.outcome, report.victims[0].pid), (Outcome::Killed, 118), "{cut}");
        let head = log.lines().take(cut).collect::<Vec<_>>().join("\n");
        for report in reports(head) {
            assert_eq!(report.outcome, Outcome::Unknown, "{cut}");
            assert!(report.victims.is_empty(), "{cut}");
            check_missing(&report, "outcome", "end of the report");
        }
    }
}

/// Lines of both in turns, then the rest of the longer one.
fn alternate(
    mut left: impl Iterator<Item = String>,
    mut right: impl Iterator<Item = String>,
) -> String {
    let pairs = std::iter::from_fn(|| {
        let pair = [left.next(), right.next()];
        pair.iter().any(Option::is_some).then_some(pair)
    });
    pairs.flatten().flatten().collect()
}

#[test]
fn interleaved_invocations_are_split_by_caller() {
    let (left, right) = (fixture("5.10-memcg-v2"), fixture("7.3-memcg-v2"));
    let line = |caller: &'static str| {
        move |(time, words): (&str, &str)| format!("[{time}][  {caller}] {words}\n")
    };
    let log = alternate(lines(left).map(line("T95")), lines(right).map(line("T118")));
    let reports: Vec<OomReport> = reports(log).into_iter().map(bare).collect();
    assert_eq!(reports, [bare(only(left)), bare(only(right))]);
}

#[test]
fn interleaved_invocations_without_callers_omit_mixed_fields() {
    let (left, right) = (fixture("5.10-memcg-v2"), fixture("7.3-memcg-v2"));
    let line = |line: &str| format!("{line}\n");
    let log = alternate(left.lines().map(line), right.lines().map(line));
    let reports = reports(log);
    let victims: Vec<i32> =
        reports.iter().flat_map(|report| &report.victims).map(|victim| victim.pid).collect();
    assert_eq!(victims, [95, 118]);
    let is_torn = |report: &&OomReport| {
        report.source.missing.iter().any(|missing| missing.why.contains("whose"))
    };
    let torn = reports.iter().find(is_torn).unwrap();
    assert!(torn.candidates.is_none() && torn.oom_memcg.is_none() && torn.victims.is_empty());
    for report in &reports {
        let table = report.candidates.iter().flat_map(|table| &table.list);
        let pids: Vec<i32> = table.map(|row| row.pid).collect();
        assert!(!(pids.contains(&95) && pids.contains(&118)), "{pids:?}");
    }
}

#[test]
fn trace_of_another_cpu_is_left_out() {
    let foreign = "[    7.812000] CPU: 1 PID: 5 Comm: other Not tainted 7.3.4 #1\n\
        [    7.812000] Call Trace:\n[    7.812000]  foreign+0x1/0x2\n";
    let log = fixture("7.3-memcg-v2");
    let (before, behind) = log.split_once("[    7.812735]").unwrap();
    let report = only(format!("{before}{foreign}[    7.812735]{behind}"));
    assert_eq!(report.victims[0].pid, 118);
    let stack = report.trigger.as_ref().and_then(|trigger| trigger.kernel_stack.as_ref());
    assert_eq!(stack, None);
    // A trace after the report is not part of it.
    let report = only(format!("{log}{foreign}"));
    assert!(report.trigger.unwrap().kernel_stack.is_some());
}

#[test]
fn outcome_follows_from_last_line() {
    let log = fixture("7.3-memcg-v2");
    let head = log.split("[    7.816611]").next().unwrap();
    let report = only(format!("{head}[    7.816700] Out of memory and no killable processes...\n"));
    assert_eq!((report.outcome, report.victims.len()), (Outcome::NoVictim, 0));
    assert_eq!(report.candidates.as_ref().unwrap().considered, 3);
    let head = log.split("[    7.818049]").next().unwrap();
    let gone = "[    7.818049] Memory cgroup out of memory: OOM victim 118 (hog) is already \
        exiting. Skip killing the task\n";
    let report = only(format!("{head}{gone}"));
    assert_eq!((report.outcome, report.victims.len()), (Outcome::AlreadyExiting, 0));
    assert!(report.candidates.unwrap().list[0].chosen);
    let sysrq = fixture("7.3-global").replace("order=0,", "order=-1,");
    assert_eq!(only(sysrq).reason, Some(Reason::Sysrq));
    let itself = fixture("7.3-global")
        .replace("Out of memory: Killed", "Out of memory (oom_kill_allocating_task): Killed");
    assert_eq!(only(itself).reason, Some(Reason::AllocatingTask));
}

#[test]
fn totalpages_of_nodes_is_their_sum() {
    let log = fixture("7.3-global");
    let policy =
        log.replace("CONSTRAINT_NONE,nodemask=(null)", "CONSTRAINT_MEMORY_POLICY,nodemask=1");
    let report = only(policy);
    assert_eq!((report.nodemask.as_deref(), report.totalpages), (Some("1"), Some(393_088 / 4)));
    let cpuset = log.replace("CONSTRAINT_NONE", "CONSTRAINT_CPUSET");
    let report = only(cpuset);
    assert_eq!(report.totalpages, Some((15_992 + 376_832 + 393_088) / 4));
    assert_eq!(report.mems_allowed.as_deref(), Some("0-1"));
}

#[test]
fn statistic_that_may_be_cut_is_left_out() {
    let items: String =
        (10..99).map(|n| format!("item_{n} 4567\\x0a")).collect::<Vec<_>>().concat();
    let log = |length: usize| {
        // As long in the kernel as it is without the escapes.
        let plain = items.replace("\\x0a", "\n");
        let cut = plain[..length].replace('\n', "\\x0a");
        format!(
            "6,1,1,-;a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
             6,2,1,-;memory: usage 64kB, limit 64kB, failcnt 1\n\
             6,3,1,-;Memory cgroup stats for /a:\n6,4,1,-;{cut}\n"
        )
    };
    let stat = |length| only(log(length)).oom_memcg.unwrap().stat.unwrap();
    assert_eq!(stat(12 * 13 - 1).len(), 12);
    let (cut, last) = (stat(1023), "item_88");
    assert!(!cut.contains_key(last) && cut.values().all(|value| *value == 4567), "{cut:?}");
    check_missing(&only(log(1023)), "oom_memcg.stat", "cut off");
}

#[test]
fn log_without_kills_has_no_reports() {
    for log in ["", "\n\n", "[    1.0] hello\n", "Mem-Info:\nactive_anon:1 inactive_anon:2\n"] {
        assert_eq!(reports(log), [], "{log:?}");
    }
}

#[test]
fn same_lines_give_same_id() {
    let ids: Vec<String> =
        reports(fixture("7.3-memcg-v2").repeat(2)).into_iter().map(|it| it.id).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], "unknown-boot-00000001d185a520-118");
    let bare = with_prefix(fixture("7.3-memcg-v2"), |_| String::new());
    assert_eq!(only(&bare).id, only(&bare).id);
}

/// A `read` of /dev/zero into memory that is not populated yet, as 6.18 printed it.
#[test]
fn trace_continues_behind_registers_of_a_fault() {
    const IN_A_CALL: [&str; 10] = [
        "RIP: 0010:read_zero+0x77/0xd0",
        "Code: 48 c7 c0 f2 ff ff ff 48 0f 45 c3 5b 5d 41 5c 41 5d 41 5e 41 5f 31 d2 31 c9 31 f6",
        "RSP: 0018:ffffc90004b77b70 EFLAGS: 00050246",
        "RAX: 0000000000000000 RBX: 0000000000001000 RCX: 0000000000000770",
        "RDX: 0000000000001000 RSI: 0000557b755b6770 RDI: 0000557b755b7000",
        "RBP: ffff888137c69700 R08: 0000000000000000 R09: 0000000000000000",
        "R13: ffff888184e993c0 R14: 00007ffffffff000 R15: 0000000000002000",
        " vfs_read+0xbb/0x360",
        " ksys_read+0x66/0xe0",
        " entry_SYSCALL_64_after_hwframe+0x76/0x7e",
    ];
    let shown = lines(fixture("6.12-memcg-v2")).flat_map(|(time, words)| {
        let is_fault = words.contains("asm_exc_page_fault");
        let more = IN_A_CALL.into_iter().filter(move |_| is_fault);
        std::iter::once(words).chain(more).map(move |words| format!("[{time}] {words}\n"))
    });
    let log = shown.collect::<Vec<_>>().concat();
    let stack = only(log).trigger.unwrap().kernel_stack.unwrap();
    let symbols: Vec<&str> = stack.iter().filter_map(|frame| frame.symbol.as_deref()).collect();
    let of_call = ["asm_exc_page_fault", "vfs_read", "ksys_read", "entry_SYSCALL_64_after_hwframe"];
    assert!(symbols.ends_with(&of_call), "{symbols:?}");
    assert!(symbols.contains(&"out_of_memory"));
}
