//! Starts another tracer in the guest, waits until it is ready, and ends it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::facts::file;
use oomwhy_tests::scenario::Peer;

use crate::{tracer, wait};

/// It compiles its probes, which takes long under emulation.
const TIME_TO_START: Duration = Duration::from_mins(3);
/// The time limit for its last lines.
const TIME_TO_PRINT: Duration = Duration::from_secs(20);

/// Another tracer that writes its output to a file.
pub(crate) struct RunningPeer {
    peer: &'static Peer,
    process: Child,
    output: PathBuf,
}

impl RunningPeer {
    /// Starts a tracer, and waits until it traces. `None` if the guest does not have it.
    pub(crate) fn start(peer: &'static Peer, directory: &Path) -> Result<Option<Self>> {
        let (program, args) = peer.argv.split_first().context("a peer without a program")?;
        if !Path::new(program).exists() {
            return Ok(None);
        }
        let path = directory.join(file::watcher_stdout(peer.name));
        let output = File::create(&path)?;
        let process = Command::new(program)
            .args(args)
            .env("PATH", "/bin:/usr/bin")
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let mut running = Self { peer, process, output: path };
        let is_over = || running.is_ready() || running.has_ended();
        let is_ready = wait::until(TIME_TO_START, is_over) && running.is_ready();
        ensure!(is_ready, "{} is not ready; it printed:\n{}", peer.name, running.printed());
        Ok(Some(running))
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn is_ready(&self) -> bool {
        self.printed().lines().any(|line| line.starts_with(self.peer.ready))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Ends it as Ctrl-C does, once it has printed what it must.
    pub(crate) fn stop(mut self) -> Result<()> {
        wait::until(TIME_TO_PRINT, || self.peer.wrong_lines(&self.printed()).is_empty());
        let ended = tracer::interrupt(&mut self.process)?;
        println!("{} ended with {ended}", self.peer.name);
        Ok(())
    }
}
