//! The workload's command line: written by the runner, read by `hog` (`src/bin/guest_init/hog.rs`).
//!
//! A workload sets itself up (cgroup, oom_score_adj, name, user: in this order, since only root may
//! do the first two), does its work, prints [`READY`] and sleeps until it is killed.

use anyhow::{Context as _, Result, bail};

use crate::programs::{self, PROGRAMS};

/// The line that a workload prints when it has its memory.
pub const READY: &str = "ready";

/// The file to which [`Work::Faults`] writes "begin" and "end". The kernel's trace then has both
/// with their time.
pub const FAULTS_NOTED: &str = "/sys/kernel/tracing/trace_marker";

/// The file to which a workload that reads oom_scores writes the number of reads.
pub fn reads_file(pid: u32) -> String {
    format!("/tmp/reads-{pid}")
}

/// The work of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sleep without allocating.
    Sleep,
    /// Touch anonymous memory, MiB by MiB.
    Anon {
        /// The anonymous memory to touch.
        mib: usize,
    },
    /// Write a file on a tmpfs, MiB by MiB.
    Shmem {
        /// The size of the file.
        mib: usize,
    },
    /// Start many small processes.
    Children {
        /// The number of processes.
        count: usize,
        /// The anonymous memory that each of them touches.
        mib: usize,
    },
    /// Touch anonymous memory in a second thread after the first has ended.
    SecondThread {
        /// The anonymous memory that the second thread touches.
        mib: usize,
    },
    /// Touch anonymous memory, and start a child (`vfork-child`) that never completes exec, so both
    /// share the memory.
    VforkChild {
        /// The anonymous memory that both share.
        mib: usize,
    },
    /// Kill a child (`undead`) that has touched memory, and keep it from releasing the memory: it
    /// stops while it exits, as a traced process does. Cgroup and oom_score_adj are the child's.
    Undead {
        /// The anonymous memory that the child touches.
        mib: usize,
    },
    /// Start a child (`undead`) that stops while it exits when it is killed. Then start a child
    /// (`greedy`) that touches memory without end, and kill `greedy` when `undead` has stopped.
    /// Cgroup and oom_score_adj are the children's; `greedy` has an oom_score_adj of 0.
    KillGreedy {
        /// The memory of `undead`.
        mib: usize,
    },
    /// Start children that end at once and stay zombies. Then touch anonymous memory.
    Zombies {
        /// The number of children.
        count: usize,
        /// The anonymous memory to touch.
        mib: usize,
    },
    /// Become a shell, whose forks are cheap, and fork many processes that do nothing.
    Crowd {
        /// The number of the other processes, a multiple of 100.
        count: usize,
    },
    /// Become one of the programs with known functions.
    Become {
        /// Its number in [`crate::programs::PROGRAMS`].
        program: usize,
        /// The amount of memory, MiB, of each kind that it allocates.
        mib: usize,
    },
    /// Touch anonymous memory MiB by MiB and release it, several times. Then touch memory without
    /// end.
    Saw {
        /// The amount per round.
        mib: usize,
        /// The number of rounds.
        times: usize,
    },
    /// Touch anonymous memory, sleep, then touch memory without end.
    Jump {
        /// The amount before the sleep.
        mib: usize,
        /// The duration of the sleep.
        seconds: usize,
    },
    /// Fault in anonymous pages one by one, in blocks of 64 KiB, and note start and end in
    /// [`FAULTS_NOTED`].
    Faults {
        /// The anonymous memory to fault in.
        mib: usize,
    },
    /// Make and remove cgroups below its own, one after another, and end.
    Cgroups {
        /// The number of cgroups.
        count: usize,
    },
    /// Read every process' oom_score in a loop, and write the number of reads to [`reads_file`].
    ReadScores,
}

impl Work {
    /// The program that is executed in the end; `hog` is a link.
    pub fn executable(self) -> String {
        match self {
            Self::Become { program, .. } => programs::path(program).unwrap_or_default(),
            _ => "/init".to_owned(),
        }
    }

    /// An interpreter's words on the final command line, before the workload's.
    pub fn words_before(self) -> &'static [&'static str] {
        match self {
            Self::Become { program, .. } => PROGRAMS.get(program).map_or(&[], |it| it.words),
            _ => &[],
        }
    }

    /// Its words on the command line.
    fn words(self) -> Vec<String> {
        let (name, numbers) = match self {
            Self::Sleep => ("sleep", vec![]),
            Self::Anon { mib } => ("anon", vec![mib]),
            Self::Shmem { mib } => ("shmem", vec![mib]),
            Self::Children { count, mib } => ("children", vec![count, mib]),
            Self::SecondThread { mib } => ("second-thread", vec![mib]),
            Self::VforkChild { mib } => ("vfork-child", vec![mib]),
            Self::Undead { mib } => ("undead", vec![mib]),
            Self::KillGreedy { mib } => ("kill-greedy", vec![mib]),
            Self::Zombies { count, mib } => ("zombies", vec![count, mib]),
            Self::Crowd { count } => ("crowd", vec![count]),
            Self::Become { program, mib } => ("become", vec![program, mib]),
            Self::Saw { mib, times } => ("saw", vec![mib, times]),
            Self::Jump { mib, seconds } => ("jump", vec![mib, seconds]),
            Self::Faults { mib } => ("faults", vec![mib]),
            Self::Cgroups { count } => ("cgroups", vec![count]),
            Self::ReadScores => ("read-scores", vec![]),
        };
        let numbers = numbers.into_iter().map(|number| number.to_string());
        std::iter::once(name.to_owned()).chain(numbers).collect()
    }

    /// Parses its words: `name` is the first, and `number` reads the next one.
    fn parse(name: &str, mut number: impl FnMut() -> Result<usize>) -> Result<Self> {
        Ok(match name {
            "sleep" => Self::Sleep,
            "anon" => Self::Anon { mib: number()? },
            "shmem" => Self::Shmem { mib: number()? },
            "children" => Self::Children { count: number()?, mib: number()? },
            "second-thread" => Self::SecondThread { mib: number()? },
            "vfork-child" => Self::VforkChild { mib: number()? },
            "undead" => Self::Undead { mib: number()? },
            "kill-greedy" => Self::KillGreedy { mib: number()? },
            "zombies" => Self::Zombies { count: number()?, mib: number()? },
            "crowd" => Self::Crowd { count: number()? },
            "become" => Self::Become { program: number()?, mib: number()? },
            "saw" => Self::Saw { mib: number()?, times: number()? },
            "jump" => Self::Jump { mib: number()?, seconds: number()? },
            "faults" => Self::Faults { mib: number()? },
            "cgroups" => Self::Cgroups { count: number()? },
            "read-scores" => Self::ReadScores,
            _ => bail!("unknown word {name:?}"),
        })
    }
}

/// A workload. Names may contain `%XX` for any byte ([`crate::scenario::bytes`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The directory of the cgroup to join.
    pub cgroup: Option<String>,
    /// From -1000 to 1000; inherited if `None`.
    pub oom_score_adj: Option<i16>,
    /// Its name, if it differs from that of the program.
    pub comm: Option<String>,
    /// Its user; root if `None`.
    pub uid: Option<u32>,
    /// The pause after each MiB, ms.
    pub pause_ms: Option<u64>,
    /// The depth of its pid namespace below its parent's. It is the first process of its namespace.
    pub pid_namespaces: u32,
    /// The work that it does.
    pub work: Work,
}

impl Workload {
    /// A workload that changes none of its inherited attributes.
    pub const fn new(work: Work) -> Self {
        Self {
            cgroup: None,
            oom_score_adj: None,
            comm: None,
            uid: None,
            pause_ms: None,
            pid_namespaces: 0,
            work,
        }
    }

    /// The arguments that [`Workload::parse`] understands.
    pub fn args(&self) -> Vec<String> {
        let Self { cgroup, oom_score_adj, comm, uid, pause_ms, pid_namespaces, work } = self;
        let mut args = Vec::new();
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([format!("--{name}"), value]);
            }
        };
        option("cgroup", cgroup.clone());
        option("oom-score-adj", oom_score_adj.map(|value| value.to_string()));
        option("comm", comm.clone());
        option("uid", uid.map(|value| value.to_string()));
        option("pause-ms", pause_ms.map(|value| value.to_string()));
        option("pid-namespaces", (*pid_namespaces > 0).then(|| pid_namespaces.to_string()));
        args.extend(work.words());
        args
    }

    /// Reads a command line (without the program's name).
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter();
        let mut workload = Self::new(Work::Sleep);
        while let Some(word) = args.next() {
            let mut value = || args.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--cgroup" => workload.cgroup = Some(value()?),
                "--oom-score-adj" => workload.oom_score_adj = Some(value()?.parse()?),
                "--comm" => workload.comm = Some(value()?),
                "--uid" => workload.uid = Some(value()?.parse()?),
                "--pause-ms" => workload.pause_ms = Some(value()?.parse()?),
                "--pid-namespaces" => workload.pid_namespaces = value()?.parse()?,
                name => workload.work = Work::parse(name, || Ok(value()?.parse()?))?,
            }
        }
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_read_back_as_written() {
        let works = [
            Work::Sleep,
            Work::Anon { mib: 3 },
            Work::Shmem { mib: 4 },
            Work::Children { count: 5, mib: 6 },
            Work::SecondThread { mib: 7 },
            Work::VforkChild { mib: 8 },
            Work::Undead { mib: 9 },
            Work::KillGreedy { mib: 10 },
            Work::Zombies { count: 17, mib: 18 },
            Work::Crowd { count: 100 },
            Work::Become { program: 1, mib: 11 },
            Work::Saw { mib: 12, times: 13 },
            Work::Jump { mib: 14, seconds: 15 },
            Work::Faults { mib: 16 },
            Work::ReadScores,
        ];
        for work in works {
            let workload = Workload {
                cgroup: Some("/sys/fs/cgroup/a".to_owned()),
                oom_score_adj: Some(-500),
                comm: Some("app".to_owned()),
                uid: Some(1234),
                pause_ms: Some(1),
                pid_namespaces: 3,
                work,
            };
            assert_eq!(Workload::parse(workload.args()).unwrap(), workload);
        }
    }
}
