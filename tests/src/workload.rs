//! The workload's command line: written by the runner, read by `hog` (`src/bin/guest_init/hog.rs`).
//!
//! A workload sets itself up (cgroup, oom_score_adj, name, user: in this order, since only root may
//! do the first two), does its work, prints [`READY`] and sleeps until it is killed.

use anyhow::{Context as _, Result, bail};

/// What a workload prints once it has its memory.
pub const READY: &str = "ready";

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
}

/// One workload.
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
    /// What it does.
    pub work: Work,
}

impl Workload {
    /// The arguments that [`Workload::parse`] understands.
    pub fn args(&self) -> Vec<String> {
        let Self { cgroup, oom_score_adj, comm, uid, pause_ms, work } = self;
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
        match work {
            Work::Sleep => args.push("sleep".to_owned()),
            Work::Anon { mib } => args.extend(["anon".to_owned(), mib.to_string()]),
            Work::Shmem { mib } => args.extend(["shmem".to_owned(), mib.to_string()]),
            Work::Children { count, mib } => {
                args.extend(["children".to_owned(), count.to_string(), mib.to_string()]);
            }
        }
        args
    }

    /// Reads a command line (without the program's name).
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter();
        let mut workload = Self {
            cgroup: None,
            oom_score_adj: None,
            comm: None,
            uid: None,
            pause_ms: None,
            work: Work::Sleep,
        };
        while let Some(word) = args.next() {
            let mut value = || args.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--cgroup" => workload.cgroup = Some(value()?),
                "--oom-score-adj" => workload.oom_score_adj = Some(value()?.parse()?),
                "--comm" => workload.comm = Some(value()?),
                "--uid" => workload.uid = Some(value()?.parse()?),
                "--pause-ms" => workload.pause_ms = Some(value()?.parse()?),
                "sleep" => workload.work = Work::Sleep,
                "anon" => workload.work = Work::Anon { mib: value()?.parse()? },
                "shmem" => workload.work = Work::Shmem { mib: value()?.parse()? },
                "children" => {
                    let count = value()?.parse()?;
                    workload.work = Work::Children { count, mib: value()?.parse()? };
                }
                _ => bail!("unknown word {word:?} (there are: sleep, anon, shmem, children)"),
            }
        }
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_back_as_it_was_written() {
        let works = [
            Work::Sleep,
            Work::Anon { mib: 3 },
            Work::Shmem { mib: 4 },
            Work::Children { count: 5, mib: 6 },
        ];
        for work in works {
            let workload = Workload {
                cgroup: Some("/sys/fs/cgroup/a".to_owned()),
                oom_score_adj: Some(-500),
                comm: Some("app".to_owned()),
                uid: Some(1234),
                pause_ms: Some(1),
                work,
            };
            assert_eq!(Workload::parse(workload.args()).unwrap(), workload);
        }
    }
}
