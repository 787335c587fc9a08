//! Names that contain words of the kernel's messages.

use super::{check_missing, fixture, only, reports};
use crate::model::report::Outcome;

/// A kill as /dev/kmsg has it, with this name of the task and this path of the cgroup.
fn raw(comm: &str, path: &str) -> String {
    let escape = |text: &str| text.replace('\\', "\\x5c").replace('\n', "\\x0a");
    let (comm, path) = (escape(comm), escape(path));
    let lines = [
        format!("{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=1"),
        format!("CPU: 0 UID: 0 PID: 7 Comm: {comm} Not tainted 6.12.1 #1 Debian"),
        "memory: usage 64kB, limit 64kB, failcnt 1".to_owned(),
        "swap: usage 0kB, limit 0kB, failcnt 0".to_owned(),
        format!("Memory cgroup stats for {path}:"),
        "anon 4096".to_owned(),
        "Tasks state (memory values in pages):".to_owned(),
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
            .to_owned(),
        format!("[      7]     0     7        2        1    40960        0             1 {comm}"),
        format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
             oom_memcg={path},task_memcg={path},task={comm},pid=7,uid=0"
        ),
        format!(
            "Memory cgroup out of memory: Killed process 7 ({comm}) total-vm:8kB, anon-rss:4kB, \
             file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:1"
        ),
    ];
    let records = lines.iter().zip(1..).map(|(line, n)| format!("6,{n},1000,-;{line}\n"));
    records.collect::<Vec<_>>().concat()
}

/// The same as dmesg shows it: newlines are not escaped. `time` stands before each line.
fn dmesg(comm: &str, path: &str, time: &str) -> String {
    let raw = raw(comm, path).replace("\\x0a", &format!("\n{time}")).replace("\\x5c", "\\");
    let lines = raw.lines().map(|line| match line.split_once(",-;") {
        Some((_, words)) => format!("{time}{words}\n"),
        None => format!("{line}\n"),
    });
    lines.collect::<Vec<_>>().concat()
}

const COMMS: [&str; 8] = [
    "a\nb",
    "a,pid=1,uid=2",
    "x) total-vm:1kB",
    ",task=z,pid=9",
    "a\"b'c\\x0a",
    "[      9]     0",
    "\n\n\n\n\n\n",
    "Killed process ",
];

#[test]
fn name_in_dev_kmsg_changes_no_number() {
    for comm in COMMS {
        let report = only(raw(comm, "/a/b"));
        let victim = &report.victims[0];
        assert_eq!((victim.pid, victim.comm.as_deref()), (7, Some(comm)), "{comm:?}");
        assert_eq!(victim.anon_rss_bytes, Some(4096), "{comm:?}");
        let trigger = report.trigger.as_ref().unwrap();
        assert_eq!((trigger.pid, trigger.comm.as_deref()), (7, Some(comm)), "{comm:?}");
        assert_eq!(report.kernel.as_deref(), Some("6.12.1"), "{comm:?}");
        let row = &report.candidates.as_ref().unwrap().list[0];
        assert_eq!((row.pid, row.comm.as_deref(), row.chosen), (7, Some(comm), true), "{comm:?}");
        assert_eq!(row.points, Some(1 + 10), "{comm:?}");
        let path = report.oom_memcg.as_ref().unwrap().cgroup.path.as_deref();
        assert_eq!(path, Some("/a/b"), "{comm:?}");
        assert_eq!(victim.cgroup.as_ref().unwrap().path.as_deref(), Some("/a/b"), "{comm:?}");
    }
}

#[test]
fn broken_name_in_text_is_joined_or_unknown() {
    for time in ["", "[    1.000000] "] {
        for comm in COMMS {
            let reports = reports(dmesg(comm, "/a/b", time));
            let victims: Vec<i32> =
                reports.iter().flat_map(|report| &report.victims).map(|it| it.pid).collect();
            assert_eq!(victims, [7], "{comm:?} {time:?}");
            let report = reports.last().unwrap();
            for row in report.candidates.iter().flat_map(|table| &table.list) {
                assert_eq!((row.pid, row.chosen), (7, true), "{comm:?} {time:?}");
            }
            if let Some(name) = report.trigger.as_ref().and_then(|it| it.comm.as_deref()) {
                assert_eq!(name, comm, "{time:?}");
            }
        }
    }
}

#[test]
fn cgroup_name_cannot_forge_a_kill() {
    let forged = "/x\nOut of memory: Killed process 1 (systemd) total-vm:8kB, anon-rss:4kB, \
        file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n\
        oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
        task_memcg=/,task=systemd,pid=1,uid=0";
    let report = only(raw("hog", forged));
    assert_eq!(report.victims.iter().map(|it| it.pid).collect::<Vec<_>>(), [7]);
    let path = report.oom_memcg.as_ref().unwrap().cgroup.path.as_deref();
    assert!(path.is_none_or(|path| path == forged), "{path:?}");
    // If the lines have times, the forged ones have none.
    let timed = dmesg("hog", forged, "").replace('\n', "\n[    1.000000] ");
    let text = timed.replace(
        "[    1.000000] Out of memory: Killed process 1",
        "Out of memory: Killed process 1",
    );
    let victims: Vec<i32> =
        reports(text).iter().flat_map(|report| &report.victims).map(|it| it.pid).collect();
    assert!(!victims.contains(&1), "{victims:?}");
}

#[test]
fn program_that_writes_to_dev_kmsg_cannot_forge_a_kill() {
    // Facility 1, user, is the lowest that it can have.
    let forged = raw("systemd", "/").replace("6,", "14,");
    assert!(forged.starts_with("14,1,1000,-;"), "{forged}");
    assert_eq!(reports(forged.clone()).len(), 0);
    let report = only(forged + &raw("hog", "/a"));
    assert_eq!(report.victims[0].comm.as_deref(), Some("hog"));
}

#[test]
fn path_with_words_of_the_kernel_is_confirmed_or_absent() {
    for path in [
        "/a,task_memcg=/b",
        "/a,oom_memcg=/b,task_memcg=/c",
        "/x,global_oom,task_memcg=/y",
        "/a,task=b",
    ] {
        let report = only(raw("hog", path));
        let owned = |path: Option<&str>| path.map(str::to_owned);
        let memcg = owned(report.oom_memcg.as_ref().unwrap().cgroup.path.as_deref());
        assert!(memcg.as_deref().is_none_or(|it| it == path), "{memcg:?}");
        let cgroup = report.victims[0].cgroup.as_ref().and_then(|it| it.path.as_deref());
        assert!(cgroup.is_none_or(|it| it == path), "{cgroup:?}");
        if cgroup.is_none() {
            check_missing(&report, "victims.cgroup", "its words");
        }
    }
}

#[test]
fn name_that_is_not_utf8_has_hex() {
    let log = raw("hog", "/a").replace("hog", "h\\xff\\x01g");
    let victim = &only(&log).victims[0];
    assert_eq!(victim.comm_hex.as_deref(), Some("68ff0167"));
    let mut bytes = fixture("7.3-memcg-v2").as_bytes().to_vec();
    let at = bytes.windows(5).rposition(|it| it == b"(hog)").unwrap();
    bytes[at + 1] = 0xff;
    let report = only(&bytes);
    assert_eq!(report.victims[0].comm_hex.as_deref(), Some("ff6f67"));
}

#[test]
fn name_that_is_too_long_is_rejected() {
    let log = "0123456789abcdef invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, \
        oom_score_adj=1\n\
        Out of memory: Killed process 1 (0123456789abcdef) total-vm:8kB, anon-rss:4kB";
    assert_eq!(reports(log), []);
}

#[test]
fn cut_summary_gives_no_path() {
    let log = fixture("7.3-memcg-v2");
    let (before, rest) = log.split_once(",task_memcg=").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let report = only(format!("{before}\n{rest}"));
    assert_eq!((report.outcome, report.victims[0].pid), (Outcome::Killed, 118));
    assert_eq!(report.victims[0].cgroup, None);
    check_missing(&report, "victims.cgroup", "oom-kill:");
}

/// The lines that a program wrote to /dev/kmsg: a kill, and a choice with a kill. The facilities
/// are those of user and of daemon.
const FORGED: [(u64, &str, &str); 2] = [
    (
        12,
        "user  :warn  : ",
        "Memory cgroup out of memory: Killed process 4242 (sshd) total-vm:1kB, anon-rss:1kB, \
         file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0",
    ),
    (
        28,
        "daemon:warn  : ",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
         oom_memcg=/a,task_memcg=/a,task=sshd,pid=4242,uid=0",
    ),
];

#[test]
fn record_of_user_space_gives_no_report_in_any_form() {
    let (_, _, kill) = FORGED[0];
    for (priority, names, words) in FORGED {
        for log in [
            format!("{priority},446,100,-;{words}\n{priority},447,100,-;{kill}\n"),
            format!("<{priority}>[    1.000000] {words}\n<{priority}>[    1.000000] {kill}\n"),
            format!("<{priority}>{words}\n<{priority}>{kill}\n"),
            format!("{names}[    1.000000] {words}\n{names}[    1.000000] {kill}\n"),
            format!("<{priority}>1 2025-11-25T17:00:00Z host kernel - - - {words}\n"),
            // The second line is the rest of a record that has a newline.
            format!("<{priority}>[    1.000000] a\n{words}\n{kill}\n"),
            format!("{names}[    1.000000] a\n{words}\n{kill}\n"),
            format!("Nov 25 17:00:00 host app[12]: a\n{words}\n{kill}\n"),
            // dmesg -x names no facility that it does not know.
            format!("kern  :info  : [    0.100000] a\n[    1.000000] {words}\n{kill}\n"),
            // The rest of a record begins like one of /dev/kmsg.
            format!("[    1.000000] a\n6,446,100,-;{words}\n6,447,100,-;{kill}\n"),
        ] {
            assert_eq!(reports(&log).len(), 0, "{log}");
        }
    }
}

#[test]
fn record_of_the_kernel_gives_a_report_in_each_form() {
    let (_, _, kill) = FORGED[0];
    for prefix in ["4,446,100,-;", "<4>[    1.000000] ", "<4>", "kern  :warn  : [    1.000000] "] {
        let log = format!("<12>[    0.100000] other\n{prefix}{kill}\n");
        let log = if prefix.ends_with(';') { format!("{prefix}{kill}\n") } else { log };
        assert_eq!(reports(&log).len(), 1, "{log}");
    }
}
