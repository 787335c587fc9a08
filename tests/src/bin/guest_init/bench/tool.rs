//! A tool under measurement: starts it, waits until it is ready, reads its lines, ends it.
//!
//! The reader notes each line in the kernel's trace, which has the kills too, so both have the same
//! clock.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::bench::{Stdout, Tool};
use rustix::process::{Pid, Signal, kill_process};

use super::{terminal, trace};
use crate::tracer;

const TIME_TO_START: Duration = Duration::from_mins(1);

/// A running tool.
pub(super) struct Running {
    process: Child,
    lines: Receiver<String>,
    /// The time from exec until it is ready, ns.
    pub(super) started_ns: u64,
}

impl Running {
    /// Starts a tool and waits until it traces.
    pub(super) fn start(tool: &Tool) -> Result<Self> {
        let start = Instant::now();
        let mut running = Self::spawn(tool)?;
        let mut printed = Vec::new();
        while let Ok(line) = running.lines.recv_timeout(TIME_TO_START) {
            if line.contains(&tool.ready) {
                running.started_ns = u64::try_from(start.elapsed().as_nanos())?;
                return Ok(running);
            }
            printed.push(line);
        }
        let ended = tracer::interrupt(&mut running.process)?;
        bail!("{} did not get ready ({ended}); it printed:\n{}", tool.name, printed.join("\n"))
    }

    /// Starts a tool without waiting.
    pub(super) fn spawn(tool: &Tool) -> Result<Self> {
        let (program, args) = tool.argv.split_first().context("a tool without a name")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env("PATH", "/bin:/usr/bin:/usr/sbin")
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let terminal = match tool.stdout {
            Stdout::Pipe => {
                command.stdout(Stdio::piped());
                None
            }
            Stdout::Terminal => {
                let (controller, user) = terminal::open()?;
                command.stdout(user);
                Some(controller)
            }
        };
        let mut process =
            command.spawn().with_context(|| format!("{} cannot be started", tool.name))?;
        let (sender, lines) = mpsc::channel();
        if let Some(controller) = terminal {
            follow(controller, sender.clone())?;
        }
        if let Some(stdout) = process.stdout.take() {
            follow(stdout, sender.clone())?;
        }
        if let Some(stderr) = process.stderr.take() {
            follow(stderr, sender)?;
        }
        Ok(Self { process, lines, started_ns: 0 })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line that contains this text. Returns false if none came in time.
    pub(super) fn await_line(&self, content: &str, limit: Duration) -> bool {
        let start = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            if line.contains(content) {
                return true;
            }
        }
        false
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("a process without an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn stop(mut self) -> Result<()> {
        tracer::interrupt(&mut self.process)?;
        Ok(())
    }
}

/// Copies a stream line by line, and first notes each line in the trace.
fn follow(stream: impl Read + Send + 'static, lines: Sender<String>) -> Result<()> {
    let mut marker = marker()?;
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // A read of a closed terminal fails instead of returning 0.
        while matches!(stream.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            note(&mut marker, &line);
            let _ = lines.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
    Ok(())
}

/// Opens the file that adds notes to the trace.
pub(super) fn marker() -> Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .open(trace::MARKER)
        .with_context(|| format!("{} cannot be opened", trace::MARKER))
}

/// Notes in the trace that a line was read. The kernel would truncate a long line, so the note has
/// only its start.
pub(super) fn note(marker: &mut File, line: &[u8]) {
    let line = &line[..line.len().min(400)];
    let _ = marker.write_all(line);
}
