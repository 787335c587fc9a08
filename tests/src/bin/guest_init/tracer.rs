//! oomwhy as the guest runs it: its flags, when it is ready, how it is ended.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use oomwhy_tests::facts::file;
use oomwhy_tests::plan::GUEST_OOMWHY;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// What oomwhy says on stderr once every kill will be seen.
pub(crate) const READY_LINE: &str = "Tracing OOM kills";

const TIME_TO_START: Duration = Duration::from_secs(20);
const TIME_TO_END: Duration = Duration::from_secs(10);

/// A running oomwhy that writes its report and its recording to a directory.
pub(crate) struct Tracer {
    process: Child,
}

impl Tracer {
    /// Starts it with these options besides.
    pub(crate) fn start(directory: &Path, options: &[&str]) -> Result<Self> {
        let process = Command::new(GUEST_OOMWHY)
            .args(["-o", "json", "--record"])
            .arg(directory.join(file::RECORDING))
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(directory.join(file::REPORT))?)
            .stderr(File::create(directory.join(file::STDERR))?)
            .spawn()
            .context("oomwhy cannot be started")?;
        Ok(Self { process })
    }

    /// Waits until it traces; false if it ended or never said so.
    pub(crate) fn wait_ready(&mut self, directory: &Path) -> bool {
        let stderr = directory.join(file::STDERR);
        let is_ready = || {
            let said = fs::read(&stderr).unwrap_or_default();
            String::from_utf8_lossy(&said).lines().any(|line| line.starts_with(READY_LINE))
        };
        wait::until(TIME_TO_START, || is_ready() || self.has_ended()) && is_ready()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Interrupts it as Ctrl-C does and says how it ended.
    pub(crate) fn stop(mut self) -> Result<String> {
        interrupt(&mut self.process)
    }
}

/// Interrupts a process as Ctrl-C does and says how it ended: its exit code, or what happened.
pub(crate) fn interrupt(process: &mut Child) -> Result<String> {
    if let Some(status) = process.try_wait()? {
        return Ok(format!("ended early: {}", describe(status)));
    }
    let pid = Pid::from_raw(i32::try_from(process.id())?).context("a process without an id")?;
    kill_process(pid, Signal::INT)?;
    if !wait::until(TIME_TO_END, || !matches!(process.try_wait(), Ok(None))) {
        process.kill()?;
        process.wait()?;
        return Ok("did not end on SIGINT".to_owned());
    }
    Ok(describe(process.wait()?))
}

/// The exit code, or the signal.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
