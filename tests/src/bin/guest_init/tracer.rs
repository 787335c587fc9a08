//! Starts oomwhy in the guest, waits until it is ready, and ends it.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::facts::file;
use oomwhy_tests::plan::GUEST_OOMWHY;
use oomwhy_tests::scenario::Launched;
use rustix::process::{Pid, Signal, kill_process};

use crate::{launch, wait};

/// The line that oomwhy prints to stderr when it traces.
pub(crate) const READY_LINE: &str = "Tracing OOM kills";

const RECORD: &str = "--record";

const TIME_TO_START: Duration = Duration::from_mins(1);
/// The time limit for an exit of oomwhy. The kernel frees a trampoline when each of its tasks has
/// slept or entered user space (synchronize_rcu_tasks). A task whose allocations keep failing
/// hardly does that.
const TIME_TO_END: Duration = Duration::from_mins(1);

/// A running oomwhy that writes its output to files of a directory.
pub(crate) struct Tracer {
    process: Child,
    args: Vec<String>,
    stdout: PathBuf,
    stderr: PathBuf,
    was_ready: bool,
    /// The offset in the file at which the stderr of this process begins.
    stderr_begin: usize,
}

impl Tracer {
    /// Starts the oomwhy that is compared with the kernel's log, with additional options.
    pub(crate) fn start(directory: &Path, options: &[&str]) -> Result<Self> {
        let recording = directory.join(file::RECORDING).display().to_string();
        let mut args = vec!["-o", "json"];
        // A recording covers one run, and pinned probes outlive a run.
        if !options.contains(&"--pin") {
            args.extend([RECORD, recording.as_str()]);
        }
        args.extend(options);
        Self::spawn(&[], &args, &directory.join(file::REPORT), directory.join(file::STDERR))
    }

    /// Starts another oomwhy, through the launcher if there are options for it.
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
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let process = start(launch, &args, stdout, &stderr)?;
        let stdout = stdout.to_owned();
        Ok(Self { process, args, stdout, stderr, was_ready: false, stderr_begin: 0 })
    }

    /// The file with its output.
    pub(crate) fn stdout(&self) -> &Path {
        &self.stdout
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What is wrong if it does not run any more.
    pub(crate) fn problem(&mut self) -> Option<String> {
        match self.process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("oomwhy ended with {}", describe(status))),
            Err(error) => Some(format!("oomwhy cannot be waited for: {error}")),
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        ensure!(!self.has_ended(), "oomwhy had ended by itself");
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again, without a recording: one covers a single run.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        if let Some(at) = self.args.iter().position(|it| it == RECORD) {
            self.args.drain(at..at + 2);
        }
        self.stderr_begin = fs::read(&self.stderr)?.len();
        self.process = start(&[], &self.args, &self.stdout, &self.stderr)?;
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?);
        Ok(kill_process(pid.context("a process without an id")?, signal)?)
    }

    /// Waits until it traces. Returns false if it ended or did not print the line.
    pub(crate) fn wait_ready(&mut self) -> bool {
        let (stderr, begin) = (self.stderr.clone(), self.stderr_begin);
        let is_ready = || {
            let bytes = fs::read(&stderr).unwrap_or_default();
            let printed = String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default());
            printed.lines().any(|line| line.starts_with(READY_LINE))
        };
        self.was_ready =
            wait::until(TIME_TO_START, || is_ready() || self.has_ended()) && is_ready();
        self.was_ready
    }

    /// Waits until it traces, or has traced and ended since.
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

    /// Interrupts it as Ctrl-C does, and returns its exit code or signal.
    pub(crate) fn stop(&mut self) -> Result<String> {
        if let Some(status) = self.process.try_wait()? {
            return Ok(describe(status));
        }
        interrupt(&mut self.process)
    }
}

/// Replays the recording of the oomwhy that is compared, and returns the exit code or signal.
pub(crate) fn replay(directory: &Path, name: &str, args: &[String]) -> Result<String> {
    let recording = directory.join(file::RECORDING).display().to_string();
    let args: Vec<&str> =
        ["replay", recording.as_str()].into_iter().chain(args.iter().map(String::as_str)).collect();
    let mut replay = Tracer::watch(directory, name, &[], &args)?;
    replay.wait_ended();
    replay.stop()
}

/// Starts oomwhy. Its output is appended to the files.
fn start(launch: &[&str], args: &[String], stdout: &Path, stderr: &Path) -> Result<Child> {
    let append = |path: &Path| File::options().append(true).create(true).open(path);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = launch::command(launch, GUEST_OOMWHY, &args);
    command.stdin(Stdio::null()).stdout(append(stdout)?).stderr(append(stderr)?);
    launch::spawn(launch, command).context("oomwhy cannot be started")
}

/// Runs a program to its end, and returns its exit code or signal. Both streams go to one file.
pub(crate) fn run(directory: &Path, run: &Launched) -> Result<String> {
    let output = File::create(directory.join(file::watcher_stdout(run.name)))?;
    let (program, args) = run.words.split_first().context("no program")?;
    let mut command = launch::command(run.launch, program, args);
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let mut process = launch::spawn(run.launch, command)?;
    if wait::until(TIME_TO_START, || !matches!(process.try_wait(), Ok(None))) {
        return Ok(describe(process.wait()?));
    }
    interrupt(&mut process)
}

/// Interrupts a process as Ctrl-C does, and returns its exit code or signal.
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

/// The exit code or the signal as text.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
