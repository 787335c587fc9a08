//! oomwhy as the guest runs it: its flags, when it is ready, how it is ended.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use oomwhy_tests::facts::file;
use oomwhy_tests::plan::GUEST_OOMWHY;
use oomwhy_tests::scenario::Program;
use rustix::process::{Pid, Signal, kill_process};

use crate::{launch, wait};

/// What oomwhy says on stderr once every kill will be seen.
pub(crate) const READY_LINE: &str = "Tracing OOM kills";

const TIME_TO_START: Duration = Duration::from_mins(1);
const TIME_TO_END: Duration = Duration::from_secs(10);

/// A running oomwhy whose output goes to files of a directory.
pub(crate) struct Tracer {
    process: Child,
    stderr: PathBuf,
    was_ready: bool,
}

impl Tracer {
    /// Starts the one that is compared with the kernel's log, with these options besides.
    pub(crate) fn start(directory: &Path, options: &[&str]) -> Result<Self> {
        let recording = directory.join(file::RECORDING).display().to_string();
        let args = ["-o", "json", "--record", recording.as_str()];
        let args: Vec<&str> = args.iter().chain(options).copied().collect();
        Self::spawn(&[], &args, &directory.join(file::REPORT), directory.join(file::STDERR))
    }

    /// Starts one more, by the launcher if it is given options.
    pub(crate) fn watch(
        directory: &Path,
        name: &str,
        launch: &[&str],
        args: &[&str],
    ) -> Result<Self> {
        Self::spawn(
            launch,
            args,
            &directory.join(file::watcher_stdout(name)),
            directory.join(file::watcher_stderr(name)),
        )
    }

    fn spawn(launch: &[&str], args: &[&str], stdout: &Path, stderr: PathBuf) -> Result<Self> {
        let mut command = launch::command(launch, GUEST_OOMWHY, args);
        command.stdin(Stdio::null()).stdout(File::create(stdout)?).stderr(File::create(&stderr)?);
        let process = launch::spawn(launch, command).context("oomwhy cannot be started")?;
        Ok(Self { process, stderr, was_ready: false })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?);
        Ok(kill_process(pid.context("a process without an id")?, signal)?)
    }

    /// Waits until it traces; false if it ended or never said so.
    pub(crate) fn wait_ready(&mut self) -> bool {
        let stderr = self.stderr.clone();
        let is_ready = || {
            let said = fs::read(&stderr).unwrap_or_default();
            String::from_utf8_lossy(&said).lines().any(|line| line.starts_with(READY_LINE))
        };
        self.was_ready =
            wait::until(TIME_TO_START, || is_ready() || self.has_ended()) && is_ready();
        self.was_ready
    }

    /// The same, but one that was ready once may have ended since.
    pub(crate) fn has_been_ready(&mut self) -> bool {
        self.was_ready || self.wait_ready()
    }

    /// Waits until it has ended by itself, or until the time is up.
    pub(crate) fn wait_ended(&mut self) {
        wait::until(TIME_TO_END, || self.has_ended());
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Interrupts it as Ctrl-C does and says how it ended.
    pub(crate) fn stop(&mut self) -> Result<String> {
        if let Some(status) = self.process.try_wait()? {
            return Ok(describe(status));
        }
        interrupt(&mut self.process)
    }
}

/// Runs a program to its end and says how it ended; what it says on either stream goes to one file.
pub(crate) fn run(directory: &Path, run: &Program) -> Result<String> {
    let said = File::create(directory.join(file::watcher_stdout(run.name)))?;
    let (program, args) = run.words.split_first().context("no program")?;
    let mut command = launch::command(run.launch, program, args);
    command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
    let mut process = launch::spawn(run.launch, command)?;
    if wait::until(TIME_TO_START, || !matches!(process.try_wait(), Ok(None))) {
        return Ok(describe(process.wait()?));
    }
    interrupt(&mut process)
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
