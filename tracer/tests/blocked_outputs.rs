//! Outputs that take nothing: the tracer goes on, ends within 3 s after a signal, and says what it
//! did not write. A real kill, whose report comes from the kernel log, is what it has to write.
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
    fs::{self, File},
    io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write, pipe},
    os::fd::AsFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fcntl_setfl, mknodat},
    process::{Pid, Signal, kill_process},
};
use tempfile::{TempDir, tempdir};

use self::own_kill::{Cgroup, TIMEOUT};

const BINARY: &str = env!("CARGO_BIN_EXE_oomwhy");
/// How long a run may take to end after a signal.
const MAX_END: Duration = Duration::from_secs(3);

/// The path of a cgroup in which a process was killed. `None`: this host does not allow that.
static KILLED: LazyLock<Option<String>> = LazyLock::new(|| {
    let cgroup = Cgroup::new("blocked")?;
    cgroup.kill_one();
    Some(cgroup.path.clone())
});

/// One run at a time, because the time that it takes to end is measured.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tracer that reports the kill, which is in the kernel log, to its output and to the history.
struct Tracer {
    child: Child,
    folder: TempDir,
}

impl Tracer {
    /// `prepare` sets the output. Stderr is read at the end, unless `prepare` sets it.
    fn start(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let cgroup = KILLED.as_deref()?;
        let folder = tempdir().unwrap();
        let mut command = Command::new(BINARY);
        command.args(["watch", "--attach", "kmsg", "--backlog", "-o", "json", "--cgroup", cgroup]);
        command.args(["--store", "--dir"]).arg(folder.path().join("history")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        prepare(&mut command);
        Some(Self { child: command.spawn().unwrap(), folder })
    }

    /// The history works, whatever the other output does.
    fn await_history(&self) {
        let begin = Instant::now();
        while n_stored(&self.folder.path().join("history")) == 0 {
            assert!(begin.elapsed() < TIMEOUT);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, after which it must end in time. Returns what it printed.
    fn stop(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let begin = Instant::now();
        let status = self.wait();
        let took = begin.elapsed();
        assert!(took < MAX_END, "{took:?}");
        (status, self.messages())
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > TIMEOUT {
                self.child.kill().unwrap();
                panic!("it did not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn messages(&mut self) -> String {
        let mut messages = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut messages).unwrap();
        }
        messages
    }
}

fn n_stored(history: &Path) -> usize {
    let files = fs::read_dir(history).into_iter().flatten().map(|file| file.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    segments.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum()
}

/// Fills a pipe, so that the next write to it blocks.
fn fill(mut pipe: impl Write + AsFd) {
    fcntl_setfl(&pipe, OFlags::NONBLOCK).unwrap();
    let error = loop {
        if let Err(error) = pipe.write_all(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    fcntl_setfl(&pipe, OFlags::empty()).unwrap();
}

/// A pipe whose reader does not read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    fill(&writer);
    (reader, writer)
}

#[test]
fn fifo_that_nobody_reads_costs_its_record_and_no_time() {
    let _alone = alone();
    let folder = tempdir().unwrap();
    let path = folder.path().join("fifo");
    mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // It has a reader, so it can be opened.
    let fifo = File::options().read(true).write(true).open(&path).unwrap();
    fill(&fifo);
    let arguments = ["--output-file", path.to_str().unwrap()];
    let Some(tracer) = Tracer::start(&arguments, |_| {}) else { return };
    tracer.await_history();
    let (status, messages) = tracer.stop(Signal::TERM);
    assert!(messages.contains("fifo: 1 record was not written\n"), "{messages}");
    assert!(messages.contains("1 OOM report\n"), "{messages}");
    assert_eq!(status.code(), Some(0), "{messages}");
}

#[test]
fn full_device_is_reported_once_and_at_the_end() {
    let _alone = alone();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let set = |command: &mut Command| {
        command.stdout(full);
    };
    let Some(tracer) = Tracer::start(&[], set) else { return };
    tracer.await_history();
    let (status, messages) = tracer.stop(Signal::INT);
    let [begin, end] = ["stdout: No space left on device", "stdout: 1 record was not written\n"];
    assert!(messages.contains(begin) && messages.contains(end), "{messages}");
    assert_eq!(messages.matches("stdout: ").count(), 2, "{messages}");
    assert_eq!(status.code(), Some(0), "{messages}");
}

#[test]
fn closed_pipe_ends_the_run_only_if_it_was_the_only_output() {
    let _alone = alone();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let set = |command: &mut Command| {
        command.stdout(writer);
    };
    let Some(tracer) = Tracer::start(&[], set) else { return };
    tracer.await_history();
    thread::sleep(Duration::from_millis(200));
    let (status, messages) = tracer.stop(Signal::HUP);
    let expected = "stdout: the reader is gone; the other outputs go on\n";
    assert!(messages.contains(expected) && !messages.contains("not written"), "{messages}");
    assert_eq!(status.code(), Some(0), "{messages}");

    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let Some(cgroup) = KILLED.as_deref() else { return };
    let mut only = Command::new(BINARY);
    only.args(["watch", "--attach", "kmsg", "--backlog", "-o", "json", "--cgroup", cgroup]);
    only.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let mut tracer = Tracer { child: only.spawn().unwrap(), folder: tempdir().unwrap() };
    let status = tracer.wait();
    assert_eq!(status.code(), Some(0), "{}", tracer.messages());
}

#[test]
fn blocked_stdout_and_stderr_do_not_delay_the_end() {
    let _alone = alone();
    let (_out, stdout) = full_pipe();
    let (mut err, stderr) = full_pipe();
    let set = |command: &mut Command| {
        command.stdout(stdout).stderr(stderr);
    };
    let Some(tracer) = Tracer::start(&[], set) else { return };
    tracer.await_history();
    let (status, _) = tracer.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    let mut messages = String::new();
    err.read_to_string(&mut messages).unwrap();
    assert_eq!(messages.trim_start_matches('x'), "", "no message had room");
}

/// As under nohup.
#[test]
fn hangup_that_was_ignored_at_the_start_does_not_end_the_run() {
    let _alone = alone();
    let Some(cgroup) = KILLED.as_deref() else { return };
    let folder = tempdir().unwrap();
    let history = folder.path().join("history");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", BINARY, "watch", "--attach", "kmsg"]);
    command.args(["--backlog", "--cgroup", cgroup, "--store", "--dir"]).arg(&history);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut tracer = Tracer { child: command.spawn().unwrap(), folder };
    tracer.await_history();
    tracer.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(tracer.child.try_wait().unwrap(), None, "it goes on");
    let (status, messages) = tracer.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{messages}");
}
