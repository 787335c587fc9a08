//! Provokes OOM kills to measure: a process exceeds the limit of a cgroup.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::scenario::Hierarchy;
use oomwhy_tests::workload::{READY, Work, Workload};

use crate::cgroup;

/// The kernel prints at most 10 reports in 5 s. With this pause after each kill it prints all.
pub(super) const PAUSE: Duration = Duration::from_millis(800);
const REPORTS_PRINTED: u32 = 10;
/// If the kernel prints no report for this time, its rate limit starts again.
const SILENCE: Duration = Duration::from_secs(6);
/// The memory that the hog can allocate before the limit is hit.
const ROOM_BYTES: u64 = 8 << 20;
const HOG_MIB: usize = 32;

/// From this number of sleepers on they are forks of a shell, without an exec.
const CROWD: usize = 2000;

/// A cgroup in which kills happen.
pub(super) struct Arena {
    directory: PathBuf,
    parents: Vec<Child>,
}

impl Arena {
    pub(super) fn new(name: &str) -> Result<Self> {
        cgroup::make(Hierarchy::V2, name, &[])?;
        Ok(Self { directory: cgroup::directory(Hierarchy::V2, name), parents: Vec::new() })
    }

    /// Adds processes that sleep.
    pub(super) fn add_sleepers(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        // The parent of the other processes sleeps as well.
        let work = match count {
            1 => Work::Sleep,
            // Forks of a shell are cheap. The shell is one more process than the hundreds.
            _ if count >= CROWD => Work::Crowd { count: count - count % 100 },
            _ => Work::Children { count: count - 1, mib: 0 },
        };
        self.lift_limit()?;
        let mut parent = self.start(work, 0, Stdio::piped())?;
        let stdout = parent.stdout.take().context("no pipe to the sleepers")?;
        self.parents.push(parent);
        // It prints the line once, for all of them.
        let is_ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|it| it == READY);
        ensure!(is_ready, "the {count} sleepers did not start");
        Ok(())
    }

    /// The number of processes without the hog.
    pub(super) fn n_processes(&self) -> Result<usize> {
        Ok(fs::read_to_string(self.directory.join("cgroup.procs"))?.lines().count())
    }

    /// Sets the limit slightly above the memory of the sleepers.
    pub(super) fn set_limit(&self) -> Result<()> {
        let current = fs::read_to_string(self.directory.join("memory.current"))?;
        let limit = current.trim().parse::<u64>()? + ROOM_BYTES;
        Ok(fs::write(self.directory.join("memory.max"), limit.to_string())?)
    }

    fn lift_limit(&self) -> Result<()> {
        Ok(fs::write(self.directory.join("memory.max"), "max")?)
    }

    /// Waits until the kernel prints its reports again.
    pub(super) fn await_kernel_reports() {
        thread::sleep(SILENCE);
    }

    /// Kills until the kernel's rate limit suppresses the next reports (for about 4 s). Returns the
    /// number of kills.
    pub(super) fn silence_kernel(&self) -> Result<u32> {
        Self::await_kernel_reports();
        (0..REPORTS_PRINTED).try_for_each(|_| self.kill())?;
        Ok(REPORTS_PRINTED)
    }

    /// Provokes one OOM kill, and returns when the victim is dead.
    pub(super) fn kill(&self) -> Result<()> {
        let mut hog = self.start(Work::Anon { mib: HOG_MIB }, 1000, Stdio::null())?;
        // Polling would add the time until the next poll to the measurement.
        let status = hog.wait()?;
        ensure!(!status.success(), "the hog was not killed");
        Ok(())
    }

    fn start(&self, work: Work, oom_score_adj: i16, stdout: Stdio) -> Result<Child> {
        let workload = Workload {
            cgroup: Some(self.directory.display().to_string()),
            oom_score_adj: Some(oom_score_adj),
            comm: None,
            uid: None,
            pause_ms: None,
            pid_namespaces: 0,
            work,
        };
        Command::new("/bin/hog")
            .args(workload.args())
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .context("the workload cannot be started")
    }
}
