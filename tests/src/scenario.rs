//! The language of the scenarios: which cgroups, which processes, how many kills.
//!
//! A scenario is data. The guest runs it (`src/bin/guest_init/runner.rs`), the host knows from the
//! same table what to expect of it.

use crate::workload::Work;

/// One situation that ends in OOM kills.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, in tests and in result directories.
    pub name: &'static str,
    /// Which cgroup hierarchy carries the memory controller.
    pub hierarchy: Hierarchy,
    /// How often the steps are run; `{n}` in a cgroup's path is the round's number.
    pub rounds: u32,
    /// What is done.
    pub steps: &'static [Step],
    /// Who dies in each round, by name.
    pub victims: &'static [&'static str],
    /// Whether oomwhy is exempt from the OOM killer, as it would be in a service.
    pub protect_tracer: bool,
}

impl Scenario {
    /// How many processes the kernel shall have killed in the end.
    pub fn n_kills(&self) -> u64 {
        u64::from(self.rounds) * self.victims.len() as u64
    }
}

/// Where the memory controller lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One unified hierarchy.
    V2,
    /// A v1 memory hierarchy beside an empty unified one, as systemd's hybrid layout has it.
    V1,
}

impl Hierarchy {
    /// Where it is mounted.
    pub const fn mount_point(self) -> &'static str {
        match self {
            Self::V2 => "/sys/fs/cgroup",
            Self::V1 => "/sys/fs/cgroup/memory",
        }
    }
}

/// One step.
#[derive(Debug)]
pub enum Step {
    /// Make a cgroup, with its parents, and write its limits.
    Cgroup {
        /// Its path below the hierarchy's mount point, with a leading slash.
        path: &'static str,
        /// File name and value.
        limits: &'static [(&'static str, &'static str)],
    },
    /// Start a process and wait for it.
    Start {
        /// Who.
        process: Process,
        /// What to wait for before the next step.
        until: Until,
    },
    /// Remove an empty cgroup.
    RemoveCgroup {
        /// Its path.
        path: &'static str,
    },
    /// Write a setting below /proc/sys.
    Sysctl {
        /// Its path below /proc/sys.
        name: &'static str,
        /// The new value.
        value: &'static str,
    },
}

/// A process to start.
#[derive(Debug)]
pub struct Process {
    /// Its name: what ps shows.
    pub comm: &'static str,
    /// The cgroup it joins before it does anything; the root if empty.
    pub cgroup: &'static str,
    /// Its oom_score_adj.
    pub oom_score_adj: i16,
    /// Its user.
    pub uid: u32,
    /// What it does.
    pub work: Work,
}

/// What ends a step that starts a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The process holds its memory and sleeps.
    Ready,
    /// The process is dead.
    Killed,
}
