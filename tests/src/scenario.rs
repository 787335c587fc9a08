//! The language of the scenarios: which cgroups, which processes, who dies, what is reported.
//!
//! A scenario is data. The guest runs it (`src/bin/guest_init/runner.rs`), the host knows from the
//! same table what to expect of it.
//!
//! Names of cgroups and processes can hold any byte: `%XX` in a text is one, see [`bytes`].

use crate::workload::Work;

/// One situation that ends in invocations of the OOM killer.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, in tests and in result directories.
    pub name: &'static str,
    /// Which cgroup hierarchy carries the memory controller.
    pub hierarchy: Hierarchy,
    /// What is done.
    pub steps: &'static [Step],
    /// Who dies with a line in the kernel's log: name, and how many of that name.
    pub victims: &'static [(&'static str, usize)],
    /// Who is a victim in the reports without such a line, likewise.
    pub silent_victims: &'static [(&'static str, usize)],
    /// Candidates that may not be killed for another reason than their oom_score_adj: name and
    /// `why_not`.
    pub refused: &'static [(&'static str, &'static str)],
    /// What the reports say beyond what the kernel's log says. An outcome that is not listed must
    /// not come, but for `killed` and what comes or not by timing alone ([`BY_TIMING`]).
    pub reports: &'static [Expected],
    /// Options of oomwhy, besides those that every scenario has.
    pub options: &'static [&'static str],
    /// Takes away what oomwhy leaves pinned.
    pub unpin: Option<Program>,
    /// Whether records are lost, so that not every kill has a whole report.
    pub is_lossy: bool,
}

/// Outcomes that other members of a memcg may or may not meet while a victim dies.
pub const BY_TIMING: &[&str] = &["victim_pending", "reclaimed"];

impl Scenario {
    /// How many processes the kernel shall have killed in the end.
    pub fn n_kills(&self) -> u64 {
        self.victims.iter().map(|(_, count)| *count as u64).sum()
    }

    /// The processes that it starts.
    pub fn processes(&self) -> Vec<&'static Process> {
        started_in(self.steps)
    }
}

fn started_in(steps: &'static [Step]) -> Vec<&'static Process> {
    let of_step = |step: &'static Step| match step {
        Step::Start { process, .. } => vec![process],
        Step::Repeat { steps, .. } => started_in(steps),
        _ => Vec::new(),
    };
    steps.iter().flat_map(of_step).collect()
}

/// Reports of one outcome.
#[derive(Debug)]
pub struct Expected {
    /// Their outcome.
    pub outcome: &'static str,
    /// How many there are: at least, at most.
    pub count: (usize, usize),
    /// What each of them says: a path like `victims[hog].vpid` or `limit_chain[0].max_bytes` (by
    /// name or by index in a list), and the value.
    pub says: &'static [(&'static str, Want)],
}

/// A value of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This text.
    Text(&'static str),
    /// This number.
    Number(i64),
    /// This number or more.
    AtLeast(i64),
    /// A yes or a no.
    Is(bool),
    /// Not there.
    Absent,
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
    /// Do steps several times; `{n}` in the path of a cgroup is the number of the round.
    Repeat {
        /// How often.
        times: u32,
        /// The steps.
        steps: &'static [Step],
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
    /// Wait until the workloads that read oom_scores have read so many.
    AwaitScoreReads {
        /// How many, all of them together.
        count: u64,
    },
    /// Wait until oomwhy has written so many reports of an outcome.
    AwaitReports {
        /// The outcome.
        outcome: &'static str,
        /// How many, since the scenario began.
        count: usize,
    },
    /// Let some time pass.
    Rest {
        /// How much.
        seconds: u64,
    },
    /// Use the disk as swap, until the end.
    Swap,
    /// Stop oomwhy with a signal, as if it did not get to run.
    PauseTracer,
    /// Let it go on.
    ResumeTracer,
    /// Kill oomwhy with SIGKILL, at a moment that nobody chose.
    KillTracer {
        /// Within this time, at random, ms.
        within_ms: u64,
        /// Whether that time begins when it traces; else it may die while it starts.
        once_ready: bool,
    },
    /// Stop oomwhy with a signal as a service manager does, once it traces.
    StopTracer,
    /// Start oomwhy again, with the same options; its output is appended.
    StartTracer,
    /// Make a copy of oomwhy whose probes differ from those of this one, as another build's do.
    OtherBuild {
        /// Its path.
        path: &'static str,
    },
    /// Run a program that must end so.
    Program(Program),
    /// Start one more oomwhy; the next step of another kind waits until it traces.
    Watch(Watcher),
    /// Run another command of oomwhy to its end.
    Run(Watcher),
    /// Run oomwhy to its end, which must be this: it refuses.
    Refused {
        /// Its options.
        args: &'static [&'static str],
        /// Its exit code.
        code: i32,
        /// What is in its stderr.
        says: &'static str,
    },
    /// Copy a file.
    Copy {
        /// Which.
        from: &'static str,
        /// Where to.
        to: &'static str,
    },
    /// Unmount a file system, for good.
    Unmount {
        /// Where it is mounted.
        target: &'static str,
    },
    /// The same with options of the launcher: as a plain user, or as in a container.
    WatchAs {
        /// The options.
        launch: &'static [&'static str],
        /// The watcher.
        watcher: Watcher,
    },
    /// Run any program to its end, by the launcher if there are options for it.
    Launch(Launched),
    /// Mount a file system over a directory, until the end.
    Mount {
        /// Its type.
        kind: &'static str,
        /// The directory.
        target: &'static str,
        /// Its options.
        options: &'static str,
    },
    /// Write to a file of the kernel; settings below /proc/sys are put back at the end.
    Write {
        /// Its path.
        file: &'static str,
        /// What is written.
        value: &'static str,
    },
}

/// A program that runs and ends.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// It and its arguments.
    pub argv: &'static [&'static str],
    /// Its exit code.
    pub code: i32,
    /// What it says, on stdout or stderr.
    pub says: &'static str,
}

/// A program that ends by itself, and what it says.
#[derive(Debug)]
pub struct Launched {
    /// Its name in the results.
    pub name: &'static str,
    /// Options of the launcher.
    pub launch: &'static [&'static str],
    /// Its path and its arguments.
    pub words: &'static [&'static str],
    /// Its exit code.
    pub exit: &'static str,
    /// How many lines it says on both streams, if that matters.
    pub lines: Option<usize>,
    /// What it says.
    pub has: &'static [&'static str],
    /// What it does not say.
    pub lacks: &'static [&'static str],
}

/// One more oomwhy beside the one that is compared with the kernel's log, with what it prints.
#[derive(Debug)]
pub struct Watcher {
    /// Its name in the results.
    pub name: &'static str,
    /// Its options; `{pid:NAME}` is the id of a process that was started.
    pub args: &'static [&'static str],
    /// Whether it replays the recording in the end, which starts faster, and sees the same.
    pub replays: bool,
    /// Whether it ends by itself once it has reported enough.
    pub ends: bool,
    /// How many lines of its stdout begin so: at least, at most.
    pub lines: (&'static str, usize, usize),
    /// What its stdout has.
    pub has: &'static [&'static str],
    /// What it has not.
    pub lacks: &'static [&'static str],
    /// The tier it watches by, whose reports are compared with those of the first oomwhy; `None`
    /// where they are not.
    pub tier: Option<Means>,
}

/// By which means a watcher watches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Trampolines, like the first one.
    Fentry,
    /// Kprobes, with the kernel's own BTF.
    Kprobe,
    /// Kprobes on a kernel that shows no BTF, with a file instead.
    KprobeWithFile,
    /// The tracepoint, with BTF.
    Tracepoint,
    /// The record of the tracepoint: no BTF.
    Record,
}

impl Means {
    /// `source.tier` of its reports.
    pub const fn tier(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe | Self::KprobeWithFile => "kprobe",
            Self::Tracepoint | Self::Record => "tracepoint",
        }
    }

    /// Its name in tables and in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::KprobeWithFile => "kprobe, --btf FILE",
            Self::Tracepoint => "tracepoint",
            Self::Record => "tracepoint, no BTF",
        }
    }
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
    /// A pause between two MiB.
    pub pause_ms: Option<u64>,
    /// How many pid namespaces deep it is; it is the first of the innermost.
    pub pid_namespaces: u32,
    /// What it does.
    pub work: Work,
}

/// What ends a step that starts a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nothing: the next step comes at once.
    Started,
    /// The process holds its memory and sleeps.
    Ready,
    /// It waits for its memcg, whose OOM killer is disabled (cgroup v1, `under_oom` of
    /// memory.oom_control).
    Waiting,
    /// The process is dead.
    Killed,
    /// Its cgroup has been out of memory so many times (`oom` of memory.events).
    OutOfMemory {
        /// How many times.
        times: u64,
    },
}

/// The bytes that a text of a scenario stands for: `%XX` is one byte, everything else is itself.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}

impl Step {
    /// The oomwhy that it starts besides the one that is compared, if it does.
    pub fn watcher(&self) -> Option<&Watcher> {
        match self {
            Self::Watch(watcher) | Self::Run(watcher) | Self::WatchAs { watcher, .. } => {
                Some(watcher)
            }
            _ => None,
        }
    }
}

/// What a text of a scenario looks like where bytes that are not UTF-8 cannot be shown.
pub fn shown(text: &str) -> String {
    String::from_utf8_lossy(&bytes(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_written_with_its_code_and_a_stray_percent_is_itself() {
        assert_eq!(bytes("a%0Ab%ff%"), b"a\nb\xff%");
        assert_eq!(bytes("100%, %zz"), b"100%, %zz");
        assert_eq!(shown("a%FFb"), "a\u{fffd}b");
    }
}
