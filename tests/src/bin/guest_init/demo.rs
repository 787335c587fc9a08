//! The demonstration: a container exceeds its limit while oomwhy traces, live on the console.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oomwhy_tests::plan::GUEST_OOMWHY;
use oomwhy_tests::scenario::Hierarchy;
use oomwhy_tests::scenarios::CONTAINER;
use oomwhy_tests::workload::{Work, Workload};

use crate::{cgroup, tracer, wait};

/// Runs the demonstration.
pub(crate) fn run(json: bool, color: bool) -> Result<()> {
    let flags: &[&str] = if json { &["-o", "json"] } else { &[] };
    println!("$ oomwhy {}", flags.join(" "));
    let mut command = Command::new(GUEST_OOMWHY);
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if color {
        command.env("CLICOLOR_FORCE", "1");
    }
    let mut oomwhy = command.spawn().context("oomwhy cannot be started")?;
    let stderr = forward(oomwhy.stderr.take());
    let reported = forward(oomwhy.stdout.take());
    await_line(&stderr, Duration::from_secs(20), tracer::READY_LINE);

    println!("(a container is made: {CONTAINER}, memory.max 48 MiB, three processes)");
    cgroup::make(Hierarchy::V2, CONTAINER, &[("memory.max", "48M")])?;
    let mut bystanders =
        [start("sidecar", 0, Work::Sleep)?, start("logger", 500, Work::Anon { mib: 4 })?];
    println!("(and one of them grows)");
    let mut app = start("app", 100, Work::Anon { mib: 200 })?;
    wait::until(Duration::from_mins(1), || !matches!(app.try_wait(), Ok(None)));
    await_line(&reported, Duration::from_secs(10), "");
    await_silence(&reported);

    println!("(Ctrl-C)");
    let ended = tracer::interrupt(&mut oomwhy)?;
    await_silence(&reported);
    println!("(oomwhy ended: {ended})");
    for bystander in &mut bystanders {
        let _ = bystander.kill();
        let _ = bystander.wait();
    }
    Ok(())
}

fn start(comm: &str, oom_score_adj: i16, work: Work) -> Result<Child> {
    let workload = Workload {
        cgroup: Some(cgroup::directory(Hierarchy::V2, CONTAINER).display().to_string()),
        oom_score_adj: Some(oom_score_adj),
        comm: Some(comm.to_owned()),
        uid: None,
        pause_ms: Some(20),
        pid_namespaces: 0,
        work,
    };
    Command::new("/bin/hog")
        .args(workload.args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("{comm} cannot be started"))
}

/// Copies a stream to the console line by line, and sends each line to the receiver.
fn forward(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(stream) = stream {
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                println!("{line}");
                let _ = sender.send(line);
            }
        });
    }
    lines
}

fn await_line(lines: &Receiver<String>, limit: Duration, start: &str) {
    while let Ok(line) = lines.recv_timeout(limit) {
        if line.starts_with(start) {
            return;
        }
    }
}

fn await_silence(lines: &Receiver<String>) {
    while lines.recv_timeout(Duration::from_secs(1)).is_ok() {}
}
