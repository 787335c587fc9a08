//! The workload's command line: written by the runner, read by `hog` (`src/bin/guest_init/hog.rs`).
//!
//! A workload sets itself up (cgroup, oom_score_adj, name, user: in this order, since only root may
//! do the first two), does its work, prints [`READY`] and sleeps until it is killed.

use anyhow::{Context as _, Result, bail};

use crate::programs::{self, PROGRAMS};

/// What a workload prints once it has its memory.
pub const READY: &str = "ready";

/// Where [`Work::Faults`] says "begin" and "end": it stands in the kernel's trace, with the time.
pub const FAULTS_NOTED: &str = "/sys/kernel/tracing/trace_marker";

/// Where a workload that reads oom_scores says how many it has read.
pub fn reads_file(pid: u32) -> String {
    format!("/tmp/reads-{pid}")
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Sleep,
    /// Touch anonymous memory, MiB by MiB.
    Anon {
        /// How much.
        mib: usize,
    },
    /// Write a file on a tmpfs, MiB by MiB.
    Shmem {
        /// How much.
        mib: usize,
    },
    /// Start many small processes.
    Children {
        /// How many.
        count: usize,
        /// How much anonymous memory each of them touches.
        mib: usize,
    },
    /// Touch anonymous memory in a second thread, once the first has ended.
    SecondThread {
        /// How much.
        mib: usize,
    },
    /// Touch anonymous memory, and have a child (`vfork-child`) that never gets through exec: the
    /// memory is that of both.
    VforkChild {
        /// How much.
        mib: usize,
    },
    /// Kill a child (`undead`) that has touched memory, and keep it from giving that back: it
    /// stops on its way out, as a traced process does. Cgroup and oom_score_adj are the child's.
    Undead {
        /// How much.
        mib: usize,
    },
    /// Start a child (`undead`) that will stop on its way out when it is killed, then one
    /// (`greedy`) that touches memory without end, and kill that one as soon as the first has
    /// stopped. Cgroup and oom_score_adj are the children's; `greedy` has an oom_score_adj of 0.
    KillGreedy {
        /// How much the first one has.
        mib: usize,
    },
    /// Be the first of many processes that do nothing: a shell, whose forks are cheap.
    Crowd {
        /// How many the others are: a multiple of 100.
        count: usize,
    },
    /// Become one of the programs with known functions, which takes so much memory.
    Become {
        /// Its number, in [`crate::programs::PROGRAMS`].
        program: usize,
        /// How much, MiB; of one that takes several kinds, of each.
        mib: usize,
    },
    /// Touch anonymous memory MiB by MiB and give it back, again and again; then touch memory
    /// without end.
    Saw {
        /// How much.
        mib: usize,
        /// How often.
        times: usize,
    },
    /// Touch anonymous memory, rest, then touch memory without end.
    Jump {
        /// How much at first.
        mib: usize,
        /// How long it rests.
        seconds: usize,
    },
    /// Fault in anonymous pages one by one, of blocks of 64 KiB, and note begin and end in
    /// [`FAULTS_NOTED`].
    Faults {
        /// How much.
        mib: usize,
    },
    /// Read every process' oom_score, again and again, and say how often in [`reads_file`].
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

    /// What stands before the workload's words on the command line in the end: an interpreter's.
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
            Self::Crowd { count } => ("crowd", vec![count]),
            Self::Become { program, mib } => ("become", vec![program, mib]),
            Self::Saw { mib, times } => ("saw", vec![mib, times]),
            Self::Jump { mib, seconds } => ("jump", vec![mib, seconds]),
            Self::Faults { mib } => ("faults", vec![mib]),
            Self::ReadScores => ("read-scores", vec![]),
        };
        let numbers = numbers.into_iter().map(|number| number.to_string());
        std::iter::once(name.to_owned()).chain(numbers).collect()
    }

    /// Reads them: the first is there, the others come one by one.
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
            "crowd" => Self::Crowd { count: number()? },
            "become" => Self::Become { program: number()?, mib: number()? },
            "saw" => Self::Saw { mib: number()?, times: number()? },
            "jump" => Self::Jump { mib: number()?, seconds: number()? },
            "faults" => Self::Faults { mib: number()? },
            "read-scores" => Self::ReadScores,
            _ => bail!("unknown word {name:?}"),
        })
    }
}

/// One workload. Names may hold `%XX` for any byte ([`crate::scenario::bytes`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The directory of the cgroup to join.
    pub cgroup: Option<String>,
    /// Its oom_score_adj.
    pub oom_score_adj: Option<i16>,
    /// Its name, if not that of the program.
    pub comm: Option<String>,
    /// Its user, if not root.
    pub uid: Option<u32>,
    /// A pause between two MiB, so that people can watch.
    pub pause_ms: Option<u64>,
    /// How deep its pid namespace is below that of whoever starts it; it is the first of that one.
    pub pid_namespaces: u32,
    /// What it does.
    pub work: Work,
}

impl Workload {
    /// A workload that changes nothing of what it inherits.
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
