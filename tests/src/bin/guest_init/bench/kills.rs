//! OOM kills to measure: one process outgrows the limit of one cgroup, as often as is asked.

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

/// The kernel prints 10 reports in 5 s: with this between two kills every one is printed.
pub(super) const PAUSE: Duration = Duration::from_millis(800);
const REPORTS_PRINTED: u32 = 10;
/// After this much silence the kernel counts its reports anew.
const SILENCE: Duration = Duration::from_secs(6);
/// What the hog may take before the limit is hit.
const ROOM_BYTES: u64 = 8 << 20;
const HOG_MIB: usize = 32;

/// From so many sleepers on they are a crowd of forks, which have no program of their own.
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
        // The parent of the others sleeps as well.
        let work = match count {
            1 => Work::Sleep,
            // Forks of a shell are cheap; it comes on top of the hundreds, so there is one more.
            _ if count >= CROWD => Work::Crowd { count: count - count % 100 },
            _ => Work::Children { count: count - 1, mib: 0 },
        };
        self.lift_limit()?;
        let mut parent = self.start(work, 0, Stdio::piped())?;
        let stdout = parent.stdout.take().context("no pipe to the sleepers")?;
        self.parents.push(parent);
        // It says so once, for all of them.
        let is_ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|it| it == READY);
        ensure!(is_ready, "the {count} sleepers did not start");
        Ok(())
    }

    /// How many processes there are, without the hog.
    pub(super) fn n_processes(&self) -> Result<usize> {
        Ok(fs::read_to_string(self.directory.join("cgroup.procs"))?.lines().count())
    }

    /// Has the limit leave little room beside what the sleepers hold.
    pub(super) fn set_limit(&self) -> Result<()> {
        let current = fs::read_to_string(self.directory.join("memory.current"))?;
        let limit = current.trim().parse::<u64>()? + ROOM_BYTES;
        Ok(fs::write(self.directory.join("memory.max"), limit.to_string())?)
    }

    fn lift_limit(&self) -> Result<()> {
        Ok(fs::write(self.directory.join("memory.max"), "max")?)
    }

    /// Has the kernel print its reports again.
    pub(super) fn let_kernel_speak() {
        thread::sleep(SILENCE);
    }

    /// Has the kernel print so much that it keeps silent about the next kills (for 4 s or so). How
    /// many kills it took.
    pub(super) fn silence_kernel(&self) -> Result<u32> {
        Self::let_kernel_speak();
        (0..REPORTS_PRINTED).try_for_each(|_| self.kill())?;
        Ok(REPORTS_PRINTED)
    }

    /// One OOM kill; returns when the victim is dead.
    pub(super) fn kill(&self) -> Result<()> {
        let mut hog = self.start(Work::Anon { mib: HOG_MIB }, 1000, Stdio::null())?;
        // Not by asking again and again: the time until the next question would be measured.
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
