//! A real OOM kill on this host, in a small temporary cgroup, reported from the kernel log.
//!
//! Needs root, a memory controller and a readable /dev/kmsg. Without them the tests print that they
//! did not run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

mod own_kill;

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::fs::OFlags;
use serde_json::Value;

use self::own_kill::{Cgroup, LIMIT, TIMEOUT};

const BINARY: &str = env!("CARGO_BIN_EXE_oomwhy");

/// One kill at a time, because the kernel prints at most ten full reports in five seconds.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Starts oomwhy and waits until it sees every kill. Returns the lines on stderr until then.
fn watch(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(BINARY)
        .args(["-o", "json"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !messages.contains("Tracing OOM kills") {
        assert_ne!(stderr.read_line(&mut messages).unwrap(), 0, "{messages}");
    }
    // Keep reading, so that the last messages do not meet a closed pipe.
    thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    (child, messages)
}

/// The report of a run that ends after one.
fn report(mut child: Child) -> Value {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > TIMEOUT {
            child.kill().unwrap();
            panic!("no report");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The kernel log, in the format of /dev/kmsg.
fn kernel_log() -> Vec<u8> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblock).open("/dev/kmsg").unwrap();
    let (mut log, mut record) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match file.read(&mut record) {
            Ok(length) => log.extend_from_slice(&record[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return log,
            // A record was overwritten before it was read.
            Err(_) => {}
        }
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Compares the report with the kill that the test caused. Fields that are not in the log must be
/// absent.
fn check_report(report: &Value, cgroup: &Cgroup, pid: u32) {
    assert_eq!(report["source"]["tier"], "kmsg", "{report:#}");
    assert_eq!((&report["outcome"], &report["reason"]), (&"killed".into(), &"selection".into()));
    assert_eq!(report["constraint"], "memcg");
    assert_eq!(report["oom_memcg"]["path"], cgroup.path.as_str());
    assert_eq!(report["oom_memcg"]["max_bytes"], LIMIT);
    assert!(report["oom_memcg"]["usage_bytes"].as_u64().unwrap() <= LIMIT);
    let victims = report["victims"].as_array().unwrap();
    assert_eq!(victims.len(), 1, "{report:#}");
    let victim = &victims[0];
    assert_eq!((&victim["pid"], &victim["comm"]), (&pid.into(), &"tail".into()));
    assert_eq!((&victim["uid"], &victim["chosen"]), (&0.into(), &true.into()));
    assert_eq!(victim["cgroup"]["path"], cgroup.path.as_str());
    let anon = victim["anon_rss_bytes"].as_u64().unwrap();
    assert!((LIMIT / 2..=LIMIT).contains(&anon), "{anon}");
    let trigger = &report["trigger"];
    assert_eq!((&trigger["pid"], &trigger["comm"]), (&pid.into(), &"tail".into()));
    let stack = trigger["kernel_stack"].as_array().unwrap();
    assert!(stack.iter().any(|frame| frame["symbol"] == "out_of_memory"), "{stack:?}");
    let candidates = report["candidates"]["list"].as_array().unwrap();
    assert_eq!(candidates.len(), 1, "{report:#}");
    let row = &candidates[0];
    assert_eq!((&row["pid"], &row["chosen"]), (&pid.into(), &true.into()));
    let adj: i64 = row["oom_score_adj"].as_i64().unwrap();
    let unit = i64::try_from(LIMIT / report["page_size"].as_u64().unwrap() / 1000).unwrap();
    // With swap on the host, the log does not have the size of the domain. Then points are absent.
    if let Some(points) = row["points"].as_i64() {
        let memory = points - adj * unit;
        assert!(memory > 2048 && memory < 8192, "{row}");
    }
    for absent in ["limit_chain", "system"] {
        assert!(report[absent].is_null(), "{absent}");
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(report["kernel"], kernel.trim());
}

#[test]
fn kill_is_reported_live_from_backlog_and_by_explain() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let Some(cgroup) = Cgroup::new("log") else { return };
    let glob = cgroup.path.clone();
    let only = ["--attach", "kmsg", "--count", "1", "--cgroup", glob.as_str()];
    let (child, _) = watch(&only);
    let before = seconds(SystemTime::now());
    let pid = cgroup.kill_one();
    let live = report(child);
    check_report(&live, &cgroup, pid);
    let time: f64 = {
        let id = live["boottime_ns"].as_f64().unwrap() / 1e9;
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        seconds(SystemTime::now()) - uptime + id
    };
    assert!((before - 1.0..=seconds(SystemTime::now()) + 1.0).contains(&time), "{time} {before}");

    let backlog: Vec<&str> = only.into_iter().chain(["--backlog"]).collect();
    let (child, _) = watch(&backlog);
    let later = report(child);
    assert_eq!((&later["id"], &later["victims"]), (&live["id"], &live["victims"]));
    check_report(&later, &cgroup, pid);

    let mut explain = Command::new(BINARY)
        .args(["explain", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = explain.stdin.take().unwrap();
    let log = kernel_log();
    let writer = thread::spawn(move || stdin.write_all(&log));
    let output = explain.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mine = reports.iter().rev().find(|it| it["oom_memcg"]["path"] == cgroup.path.as_str());
    let mine = mine.unwrap();
    check_report(mine, &cgroup, pid);
    assert!(mine["time"].is_null() && mine["host"].is_null(), "not in the log");
}

/// oomwhy falls back to the log only if BPF is refused.
#[test]
fn refused_probes_fall_back_to_kernel_log_with_reason() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let Some(cgroup) = Cgroup::new("auto") else { return };
    let (child, messages) = watch(&["--count", "1", "--cgroup", &cgroup.path]);
    let pid = cgroup.kill_one();
    let report = report(child);
    let has_fallen_back = messages.contains("no probes (");
    assert_eq!(messages.contains("(kmsg)"), has_fallen_back, "{messages}");
    assert_eq!(report["source"]["tier"] == "kmsg", has_fallen_back, "{messages}");
    if has_fallen_back {
        check_report(&report, &cgroup, pid);
        let missing = report["source"]["missing"].as_array().unwrap();
        assert!(missing.iter().any(|it| it["field"] == "probes"), "{missing:?}");
        let (_, reason) = messages.split_once("no probes (").unwrap();
        assert!(reason.contains("instead"), "{messages}");
    }
}
