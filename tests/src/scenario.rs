//! The types of scenarios: cgroups, processes, victims, expected reports.
//!
//! A scenario is data. The guest runs it (`src/bin/guest_init/runner.rs`), and the host compares
//! the results with the same table.
//!
//! Names of cgroups and processes can contain any byte. `%XX` in a text is one byte, see [`bytes`].

use crate::attempts::Attacker;
use crate::workload::Work;

/// A situation that ends in invocations of the OOM killer.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, in tests and in result directories.
    pub name: &'static str,
    /// The longer scenario that it stands for in CI. The whole matrix runs that one instead.
    pub short_form_of: Option<&'static str>,
    /// The cgroup hierarchy that has the memory controller.
    pub hierarchy: Hierarchy,
    /// The steps that the guest takes.
    pub steps: &'static [Step],
    /// The victims with a line in the kernel's log: name, and number of victims with that name.
    pub victims: &'static [(&'static str, usize)],
    /// The victims in the reports without such a line: name and number.
    pub silent_victims: &'static [(&'static str, usize)],
    /// Candidates that may not be killed, for another reason than their oom_score_adj: name and
    /// `why_not`.
    pub refused: &'static [(&'static str, &'static str)],
    /// The content of reports beyond the kernel's log. An outcome that is not listed must not
    /// occur. Exceptions are `killed`, `no_victim` if the log has such an invocation, and the
    /// outcomes that depend on timing ([`BY_TIMING`]).
    pub reports: &'static [Expected],
    /// The content of the report of one victim's kill: its name, and paths and values like those of
    /// [`Expected::says`].
    pub kills: &'static [(&'static str, &'static [(&'static str, Want)])],
    /// The options of oomwhy, in addition to those that every scenario has.
    pub options: &'static [&'static str],
    /// The program that removes the probes that oomwhy leaves pinned.
    pub unpin: Option<Program>,
    /// The part of the results that is compared with the kernel's log.
    pub comparison: Comparison,
}

/// The part of a scenario's results that is compared with the kernel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every report, in whole.
    Reports,
    /// The losses: details are lost, so not every kill has a complete report.
    Losses,
    /// The kills. They come faster than their details have room, so details may be left out. Every
    /// kill must have a report.
    Burst,
    /// The count of kills. More processes are killed at once than there is room for their compact
    /// records.
    LostKills,
    /// The kernel's own reports: half of the kills happen while oomwhy traces, half while it does
    /// not.
    Text,
    /// The reports, and the lines of other tracers. The second third of the kills happens while
    /// oomwhy does not trace. The others must see all kills.
    Peers,
    /// Which processes were killed. Attempts to make oomwhy harm its host provoke the kills. The
    /// guest checks oomwhy after each of them.
    Attempts,
}

/// The outcomes of other tasks' invocations while a victim dies. The log does not have them. When
/// the whole machine is out of memory, any task may allocate without `__GFP_FS`.
pub const BY_TIMING: &[&str] = &["victim_pending", "reclaimed", "not_allowed"];

impl Scenario {
    /// The number of processes that the kernel must have killed in the end.
    pub fn n_kills(&self) -> u64 {
        self.victims.iter().map(|(_, count)| *count as u64).sum()
    }

    /// The number of kills that happen while oomwhy traces.
    pub fn n_traced_kills(&self) -> u64 {
        match self.comparison {
            Comparison::Text => self.n_kills() / 2,
            Comparison::Peers => self.n_kills() * 2 / 3,
            _ => self.n_kills(),
        }
    }

    fn needs_own_tracer(&self) -> bool {
        let is_alone = |step: &Step| match step {
            Step::PauseTracer
            | Step::ResumeTracer
            | Step::KillTracer { .. }
            | Step::StopTracer
            | Step::StartTracer
            | Step::Mount { .. }
            | Step::Unmount { .. } => true,
            Step::Watch(watcher) | Step::WatchAs { watcher, .. } => watcher.replays,
            _ => false,
        };
        self.comparison != Comparison::Reports
            || self.unpin.is_some()
            || self.steps.iter().any(is_alone)
    }

    /// The processes that it starts.
    pub fn processes(&self) -> Vec<&'static Process> {
        started_in(self.steps)
    }
}

/// The scenarios in groups, each of which runs with one oomwhy. Alone are those that end or stop
/// oomwhy, or change what it sees when it starts.
pub fn by_tracer(scenarios: &[&'static Scenario]) -> Vec<Vec<&'static Scenario>> {
    let mut groups: Vec<Vec<&'static Scenario>> = Vec::new();
    for scenario in scenarios.iter().copied() {
        let joins = |group: &&mut Vec<&'static Scenario>| {
            let shares = |it: &Scenario| it.options == scenario.options && !it.needs_own_tracer();
            !scenario.needs_own_tracer() && group.iter().all(|it| shares(it))
        };
        match groups.iter_mut().find(joins) {
            Some(group) => group.push(scenario),
            None => groups.push(vec![scenario]),
        }
    }
    groups
}

fn started_in(steps: &'static [Step]) -> Vec<&'static Process> {
    let of_step = |step: &'static Step| match step {
        Step::Start { process, .. } => vec![process],
        Step::Repeat { steps, .. } => started_in(steps),
        _ => Vec::new(),
    };
    steps.iter().flat_map(of_step).collect()
}

/// The expected reports of one outcome.
#[derive(Debug)]
pub struct Expected {
    /// The key `outcome` of the reports.
    pub outcome: &'static str,
    /// The number of reports: minimum, maximum.
    pub count: (usize, usize),
    /// The content of each report: a path like `victims[hog].vpid` or `limit_chain[0].max_bytes`
    /// (by name or by index in a list), and the value.
    pub says: &'static [(&'static str, Want)],
}

/// The expected value at a path of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Exactly this text.
    Text(&'static str),
    /// Exactly this number.
    Number(i64),
    /// This number or more.
    AtLeast(i64),
    /// Exactly this boolean.
    Is(bool),
    /// No value: the key is absent.
    Absent,
}

/// The hierarchy of the memory controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One unified hierarchy.
    V2,
    /// A v1 memory hierarchy beside an empty unified one, as in systemd's hybrid layout.
    V1,
}

impl Hierarchy {
    /// The directory on which it is mounted.
    pub const fn mount_point(self) -> &'static str {
        match self {
            Self::V2 => "/sys/fs/cgroup",
            Self::V1 => "/sys/fs/cgroup/memory",
        }
    }
}

/// A step of a scenario.
#[derive(Debug)]
pub enum Step {
    /// Make a cgroup, with its parents, and write its limits.
    Cgroup {
        /// Its path below the hierarchy's mount point, with a leading slash.
        path: &'static str,
        /// The limits: file name and value.
        limits: &'static [(&'static str, &'static str)],
    },
    /// Repeat steps. `{n}` in the path of a cgroup stands for the number of the round.
    Repeat {
        /// The number of rounds.
        times: u32,
        /// The steps of one round.
        steps: &'static [Step],
    },
    /// Start a process and wait for it.
    Start {
        /// The process to start.
        process: Process,
        /// The condition that must hold before the next step.
        until: Until,
    },
    /// Remove an empty cgroup.
    RemoveCgroup {
        /// The path below the mount of cgroup v2.
        path: &'static str,
    },
    /// Wait until the workloads that read oom_scores have read this many.
    AwaitScoreReads {
        /// The number of reads of all workloads together.
        count: u64,
    },
    /// Wait until oomwhy has written this many reports of an outcome.
    AwaitReports {
        /// The outcome of the reports.
        outcome: &'static str,
        /// The number of reports since the scenario began.
        count: usize,
    },
    /// Wait until all processes that were started are dead.
    AwaitDeaths,
    /// Wait for some time.
    Rest {
        /// The time in seconds.
        seconds: u64,
    },
    /// Use the disk as swap until the scenario ends.
    Swap,
    /// Stop oomwhy with a signal, as if it had no CPU time.
    PauseTracer,
    /// Continue oomwhy after a pause, with SIGCONT.
    ResumeTracer,
    /// Kill oomwhy with SIGKILL, at a random moment.
    KillTracer {
        /// The upper limit of the random time, ms.
        within_ms: u64,
        /// Whether the time begins when oomwhy traces. Otherwise it may be killed while it starts.
        once_ready: bool,
    },
    /// Stop oomwhy with a signal as a service manager does, once it traces.
    StopTracer,
    /// Start oomwhy again with the same options. Its output is appended.
    StartTracer,
    /// Wait until oomwhy traces.
    AwaitTracer,
    /// Start another tracer, and wait until it traces. A guest without its program leaves it out,
    /// and says so.
    Peer(Peer),
    /// Make a copy of oomwhy whose probes differ from those of this one, as another build's do.
    OtherBuild {
        /// The path of the copy.
        path: &'static str,
    },
    /// Run each attempt to make oomwhy harm its host.
    Attempts(Attacker),
    /// Run a program, and check how it ends.
    Program(Program),
    /// Start another oomwhy. The next step of another kind waits until it traces.
    Watch(Watcher),
    /// Run another command of oomwhy to its end.
    Run(Watcher),
    /// Run oomwhy with options that it must refuse.
    Refused {
        /// The options after the name of the program.
        args: &'static [&'static str],
        /// Its exit code.
        code: i32,
        /// A part of its stderr.
        says: &'static str,
    },
    /// Copy a file.
    Copy {
        /// The path of the file.
        from: &'static str,
        /// The path of the copy.
        to: &'static str,
    },
    /// Unmount a file system. It is not mounted again.
    Unmount {
        /// The directory on which it is mounted.
        target: &'static str,
    },
    /// Start another oomwhy with options of the launcher: as a plain user, or as in a container.
    WatchAs {
        /// The options of the launcher.
        launch: &'static [&'static str],
        /// The oomwhy to start.
        watcher: Watcher,
    },
    /// Run any program to its end, through the launcher if there are options for it.
    Launch(Launched),
    /// Mount a file system over a directory until the scenario ends.
    Mount {
        /// The type of file system, as for mount(8).
        kind: &'static str,
        /// The directory that the file system hides.
        target: &'static str,
        /// The options for the file system, separated by commas.
        options: &'static str,
    },
    /// Write to a file of the kernel. Settings below /proc/sys are restored at the end.
    Write {
        /// The path of the file.
        file: &'static str,
        /// The text to write.
        value: &'static str,
    },
}

/// A program that runs and ends.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The program and its arguments.
    pub argv: &'static [&'static str],
    /// Its exit code.
    pub code: i32,
    /// A text that it prints on stdout or stderr.
    pub says: &'static str,
}

/// A tracer beside oomwhy that is attached to the same functions.
#[derive(Debug)]
pub struct Peer {
    /// Its name in the results.
    pub name: &'static str,
    /// The program and its arguments.
    pub argv: &'static [&'static str],
    /// The start of a line that it prints when all its probes are attached.
    pub ready: &'static str,
    /// The start of lines of its output, each with the minimum and maximum number of such lines.
    pub lines: &'static [(&'static str, usize, usize)],
}

impl Peer {
    /// The numbers of lines that it did not print as often as it must, in words.
    pub fn wrong_lines(&self, output: &str) -> Vec<String> {
        let wrong = |&(start, min, max): &(&str, usize, usize)| {
            let n_lines = output.lines().filter(|line| line.starts_with(start)).count();
            let is_right = (min..=max).contains(&n_lines);
            (!is_right).then(|| format!("{n_lines} lines begin with {start:?}, not {min} to {max}"))
        };
        self.lines.iter().filter_map(wrong).collect()
    }
}

/// A program that ends by itself, and its expected output.
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
    /// The number of lines that it prints on both streams; `None` if any number is right.
    pub lines: Option<usize>,
    /// Texts that its output must have.
    pub has: &'static [&'static str],
    /// Texts that its output must not have.
    pub has_not: &'static [&'static str],
}

/// An oomwhy beside the one that is compared with the kernel's log, and its expected output.
#[derive(Debug)]
pub struct Watcher {
    /// Its name in the results.
    pub name: &'static str,
    /// Its options. `{pid:NAME}` stands for the id of a process that was started.
    pub args: &'static [&'static str],
    /// Whether it replays the recording at the end. A replay has the same events and starts faster.
    pub replays: bool,
    /// Whether it ends by itself, with `--count`.
    pub ends: bool,
    /// The start of lines of its stdout, and the minimum and maximum number of such lines.
    pub lines: (&'static str, usize, usize),
    /// Texts that its stdout must have.
    pub has: &'static [&'static str],
    /// Texts that its stdout must not have.
    pub has_not: &'static [&'static str],
    /// How it attaches. Its reports are compared with those of the first oomwhy, unless `None`.
    pub attach: Option<WatcherTier>,
}

/// How a watcher attaches to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatcherTier {
    /// Trampolines, like the first oomwhy.
    Fentry,
    /// Kprobes, with the kernel's own BTF.
    Kprobe,
    /// Kprobes on a kernel without BTF, with a BTF file instead.
    KprobeWithFile,
    /// The tracepoint, with BTF.
    Tracepoint,
    /// The record of the tracepoint, without BTF.
    Record,
}

impl WatcherTier {
    /// The value of `source.tier` in its reports.
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
    /// Its name, which ps shows.
    pub comm: &'static str,
    /// The cgroup that it joins first; the root if empty.
    pub cgroup: &'static str,
    /// From -1000 to 1000, set before it allocates.
    pub oom_score_adj: i16,
    /// The real user id; 0 is root.
    pub uid: u32,
    /// The pause after each MiB, ms.
    pub pause_ms: Option<u64>,
    /// The depth of its pid namespace. It is the first process of the innermost one.
    pub pid_namespaces: u32,
    /// The work that it does.
    pub work: Work,
}

/// The condition that ends a step that starts a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// No condition: the next step follows immediately.
    Started,
    /// The process holds its memory and sleeps.
    Ready,
    /// The process waits for its memcg, whose OOM killer is disabled (cgroup v1, `under_oom` of
    /// memory.oom_control).
    Waiting,
    /// The process is dead.
    Killed,
    /// Its cgroup was out of memory this many times (`oom` of memory.events).
    OutOfMemory {
        /// The number of times.
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
    /// The watcher that it starts, if any.
    pub fn watcher(&self) -> Option<&Watcher> {
        match self {
            Self::Watch(watcher) | Self::Run(watcher) | Self::WatchAs { watcher, .. } => {
                Some(watcher)
            }
            _ => None,
        }
    }
}

/// A text of a scenario as UTF-8, with replacement characters for other bytes.
pub fn shown(text: &str) -> String {
    String::from_utf8_lossy(&bytes(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn percent_code_is_a_byte_and_stray_percent_is_itself() {
        assert_eq!(bytes("a%0Ab%ff%"), b"a\nb\xff%");
        assert_eq!(bytes("100%, %zz"), b"100%, %zz");
        assert_eq!(shown("a%FFb"), "a\u{fffd}b");
    }

    #[test]
    fn line_of_peer_that_is_missing_or_too_much_is_wrong() {
        let lines = &[("kprobe f", 2, 2), ("fentry f", 1, usize::MAX)];
        let peer = Peer { name: "peer", argv: &[], ready: "", lines };
        assert!(peer.wrong_lines("kprobe f\nfentry f\nkprobe f\nfentry f\n").is_empty());
        let wrong = peer.wrong_lines("kprobe f\nkprobe f\nkprobe f\n");
        assert_eq!(wrong.len(), 2);
        assert!(wrong[0].starts_with("3 lines begin with \"kprobe f\""), "{wrong:?}");
    }

    #[test]
    fn part_of_the_kills_is_traced() {
        let traced = |name| scenarios::find(name).unwrap().n_traced_kills();
        assert_eq!((traced("memcg_v2"), traced("same_text"), traced("bpftrace")), (1, 4, 6));
    }

    #[test]
    fn scenarios_that_stop_oomwhy_run_alone() {
        let groups = |names: &[&str]| -> Vec<Vec<&str>> {
            let all: Vec<_> = names.iter().filter_map(|name| scenarios::find(name)).collect();
            let names = |group: Vec<&'static Scenario>| group.iter().map(|it| it.name).collect();
            by_tracer(&all).into_iter().map(names).collect()
        };
        assert_eq!(
            groups(&["memcg_v2", "small_ring", "oom_group", "restarts"]),
            [vec!["memcg_v2", "oom_group"], vec!["small_ring"], vec!["restarts"],]
        );
    }
}
