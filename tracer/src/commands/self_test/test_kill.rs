//! Kills a child while a tracer runs as `oomwhy -o json --count 1`, and reads its report.

use std::{
    future::Future,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use super::{COMM, TestKill, VICTIM_COMMAND, temporary_cgroup::TemporaryCgroup};
use crate::{
    commands::{Failure, exit::Exit},
    pipeline::stop_signals::StopSignals,
};

/// The start of the line that a tracer prints when it sees every kill from now on.
const READY: &str = "Tracing OOM kills";
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Enough for emulated machines. Real ones need a tenth of it.
const TIME_TO_START: Duration = Duration::from_secs(30);
const TIME_TO_DIE: Duration = Duration::from_secs(20);
const TIME_TO_REPORT: Duration = Duration::from_secs(15);

/// Runs `work` until a signal arrives. Dropping it kills its children.
pub(super) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut stop = StopSignals::new().map_err(|error| cannot("wait for signals", &error))?;
    tokio::select! {
        result = work => result,
        () = stop.received() => Err(failed("stopped by a signal; child and cgroup were removed")),
    }
}

/// Lets the child be killed. Returns the test kill and its report.
pub(super) async fn run(cgroup: &TemporaryCgroup) -> Result<(TestKill, Value), Failure> {
    let mut tracer = tracer().map_err(|error| cannot("start a tracer", &error))?;
    ready(&mut tracer).await?;
    let mut victim = victim(cgroup).map_err(|error| cannot("start the child", &error))?;
    let pid = victim.id().ok_or_else(|| failed("the child exited at once"))?;
    let ended = kill(&mut victim).await?;
    let lines = tracer.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    let report = report(lines).await?;
    if let Some(code) = ended.code() {
        return Err(failed(&format!("the child was not killed but exited with code {code}")));
    }
    let uid = rustix::process::geteuid().as_raw();
    let test_kill =
        TestKill { pid, uid, cgroup: cgroup.path.clone(), cgroup_version: cgroup.version };
    Ok((test_kill, report))
}

fn tracer() -> io::Result<Child> {
    Command::new(OWN_EXECUTABLE)
        .args(["watch", "-o", "json", "--count", "1", "--close-after", "1s", "--comm", COMM])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits until the tracer is ready. If it exits instead, its stderr has the reason.
async fn ready(tracer: &mut Child) -> Result<(), Failure> {
    let Some(stderr) = tracer.stderr.take() else {
        return Err(failed("the tracer has no stderr"));
    };
    let mut lines = BufReader::new(stderr).lines();
    match timeout(TIME_TO_START, banner(&mut lines)).await {
        Err(_) => Err(failed("the tracer was not ready in time")),
        Ok(Ok(())) => {
            // Keep reading, so that further messages do not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok(())
        }
        Ok(Err(stderr)) => {
            let status =
                tracer.wait().await.map_err(|error| cannot("wait for the tracer", &error))?;
            Err(nothing_traced(status, &stderr))
        }
    }
}

async fn banner(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<(), String> {
    let mut messages = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with(READY) {
            return Ok(());
        }
        messages.push(line);
    }
    Err(messages.join("\n"))
}

/// The message and the exit code of the tracer.
fn nothing_traced(status: ExitStatus, stderr: &str) -> Failure {
    let exit = match status.code() {
        Some(69) => Exit::Unavailable,
        Some(77) => Exit::NotPermitted,
        _ => Exit::Failure,
    };
    let reason = stderr.strip_prefix("oomwhy: ").unwrap_or(stderr);
    Failure { exit, message: format!("no self-test: the tracer does not start: {reason}") }
}

fn victim(cgroup: &TemporaryCgroup) -> io::Result<Child> {
    Command::new(OWN_EXECUTABLE)
        .arg(VICTIM_COMMAND)
        .arg(&cgroup.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
}

/// Lets the child allocate and waits for its end.
async fn kill(victim: &mut Child) -> Result<ExitStatus, Failure> {
    if let Some(mut stdin) = victim.stdin.take() {
        // If the child has already exited, its exit status shows why.
        let _ = stdin.write_all(b"\n").await;
    }
    match timeout(TIME_TO_DIE, victim.wait()).await {
        Ok(ended) => ended.map_err(|error| cannot("wait for the child", &error)),
        Err(_) => Err(failed("the child was not killed in time")),
    }
}

async fn report(
    lines: Option<Lines<BufReader<tokio::process::ChildStdout>>>,
) -> Result<Value, Failure> {
    let Some(mut lines) = lines else {
        return Err(failed("the tracer has no stdout"));
    };
    let found = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let report: Value = serde_json::from_str(&line).ok()?;
            if report.get("type").and_then(Value::as_str) == Some("oom") {
                return Some(report);
            }
        }
        None
    };
    match timeout(TIME_TO_REPORT, found).await {
        Ok(Some(report)) => Ok(report),
        _ => Err(failed("the child was killed, but the tracer reported nothing")),
    }
}

fn failed(what: &str) -> Failure {
    Failure { exit: Exit::Failure, message: format!("self-test failed: {what}") }
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    failed(&format!("cannot {what}: {error}"))
}
