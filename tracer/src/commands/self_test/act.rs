//! The deed: a tracer as `oomwhy -o json --count 1`, then the child, then the report.

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
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use super::{COMM, Deed, VICTIM_COMMAND, own_cgroup::OwnCgroup};
use crate::commands::{Failure, exit::Exit};

/// How the banner of a tracer begins that sees every kill from now on.
const READY: &str = "Tracing OOM kills";
const OURSELVES: &str = "/proc/self/exe";

/// Ample for emulated machines; real ones take a tenth of it.
const TIME_TO_START: Duration = Duration::from_secs(30);
const TIME_TO_DIE: Duration = Duration::from_secs(20);
const TIME_TO_REPORT: Duration = Duration::from_secs(15);

/// What happens unless somebody interrupts; children are killed when it is dropped.
pub(super) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return Err(failed("signals cannot be waited for"));
    };
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err(failed("interrupted; what was made is removed")),
        _ = terminate.recv() => Err(failed("terminated; what was made is removed")),
    }
}

/// Does it. Returns what was done and the report of it.
pub(super) async fn act(cgroup: &OwnCgroup) -> Result<(Deed, Value), Failure> {
    let mut tracer = tracer().map_err(|error| cannot("start a tracer", &error))?;
    ready(&mut tracer).await?;
    let mut victim = victim(cgroup).map_err(|error| cannot("start the child", &error))?;
    let pid = victim.id().ok_or_else(|| failed("the child ended at once"))?;
    let ended = kill(&mut victim).await?;
    let lines = tracer.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    let report = report(lines).await?;
    if let Some(code) = ended.code() {
        return Err(failed(&format!("the child was not killed, it ended with code {code}")));
    }
    let uid = rustix::process::geteuid().as_raw();
    let deed = Deed { pid, uid, cgroup: cgroup.path.clone(), cgroup_version: cgroup.version };
    Ok((deed, report))
}

fn tracer() -> io::Result<Child> {
    Command::new(OURSELVES)
        .args(["watch", "-o", "json", "--count", "1", "--close-after", "1s", "--comm", COMM])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits for the banner. A tracer that ends instead says why nothing can be traced here.
async fn ready(tracer: &mut Child) -> Result<(), Failure> {
    let Some(stderr) = tracer.stderr.take() else {
        return Err(failed("the tracer has no stderr"));
    };
    let mut lines = BufReader::new(stderr).lines();
    match timeout(TIME_TO_START, banner(&mut lines)).await {
        Err(_) => Err(failed("the tracer was not ready in time")),
        Ok(Ok(())) => {
            // What else it says must not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok(())
        }
        Ok(Err(said)) => {
            let status = tracer.wait().await.map_err(|error| cannot("wait", &error))?;
            Err(nothing_traced(status, &said))
        }
    }
}

async fn banner(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<(), String> {
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with(READY) {
            return Ok(());
        }
        said.push(line);
    }
    Err(said.join("\n"))
}

/// The tracer's own words and its own code.
fn nothing_traced(status: ExitStatus, said: &str) -> Failure {
    let exit = match status.code() {
        Some(69) => Exit::Unavailable,
        Some(77) => Exit::NotPermitted,
        _ => Exit::Failure,
    };
    let said = said.strip_prefix("oomwhy: ").unwrap_or(said);
    Failure { exit, message: format!("no self-test, nothing can be traced here: {said}") }
}

fn victim(cgroup: &OwnCgroup) -> io::Result<Child> {
    Command::new(OURSELVES)
        .arg(VICTIM_COMMAND)
        .arg(&cgroup.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
}

/// Gives the word and waits for the end.
async fn kill(victim: &mut Child) -> Result<ExitStatus, Failure> {
    if let Some(mut stdin) = victim.stdin.take() {
        // One that is gone already is told by its end.
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
        _ => Err(failed("the child died, and no report came")),
    }
}

fn failed(what: &str) -> Failure {
    Failure { exit: Exit::Failure, message: format!("self-test failed: {what}") }
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    failed(&format!("cannot {what}: {error}"))
}
