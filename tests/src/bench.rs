//! The measurements of one boot of `cargo xtask bench`, as the guest sends them to the host.
//!
//! The guest only measures. The host computes slopes, medians and limits, so the raw numbers can be
//! stored and evaluated again. The guest's clock advances by 1 ns per instruction, so its
//! nanoseconds are instructions.

use serde::{Deserialize, Serialize};

/// The file that contains [`Counts`].
pub const COUNTS_FILE: &str = "counts.json";
/// The file that contains [`Comparison`].
pub const COMPARISON_FILE: &str = "comparison.json";

/// The file that contains [`Faults`].
pub const FAULTS_FILE: &str = "faults.json";

/// The file that contains [`Idle`].
pub const IDLE_FILE: &str = "idle.json";
/// The program that does everyday operations (tests/programs/everyday.c), in the guest.
pub const EVERYDAY: &str = "/bin/everyday";

/// The measurement of one boot.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Bench {
    /// Instructions of an invocation, with oomwhy and without.
    Counts {
        /// The numbers of sleeping candidates beside the victim, in ascending order.
        sleepers: Vec<usize>,
        /// Kills per cell of the table.
        repeats: u32,
    },
    /// Instructions of page faults with the growth recorder, without it, and with other tools that
    /// count page faults.
    Faults {
        /// The memory that is faulted in.
        mib: usize,
        /// The number of runs with each tool.
        repeats: u32,
        /// The other tools.
        tools: Vec<Tool>,
    },
    /// Instructions of everyday operations without oomwhy, and while it is idle.
    Idle {
        /// The number of rounds. Each measures every tracer.
        rounds: u32,
    },
    /// Start, memory, wake-ups and latency of tools that report OOM kills.
    Comparison {
        /// All tools, oomwhy among them.
        tools: Vec<Tool>,
        /// The number of starts of each tool.
        starts: u32,
        /// The number of kills that each tool reports.
        kills: u32,
        /// How long each tool is idle, by the guest's clock.
        idle_seconds: u64,
    },
}

/// A tool that reports OOM kills.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tool {
    /// Its name in the table.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The kind of its stdout. Some tools print nothing to a pipe until they end.
    pub stdout: Stdout,
    /// A part of the line that it prints when it traces.
    pub ready: String,
    /// A part of the line that reports a kill.
    pub report: String,
}

/// The kind of file that a tool writes to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Stdout {
    /// A pipe, as in a service or before `jq`.
    Pipe,
    /// A pseudo-terminal, as when a person starts the tool.
    Terminal,
}

/// The result of [`Bench::Faults`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Faults {
    /// One cell per observer.
    pub cells: Vec<FaultCell>,
}

/// The tool that observes a program while it faults.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Observer {
    /// No tool, right after the boot.
    NoneAfterBoot,
    /// oomwhy without the recorder.
    Plain,
    /// The recorder. The program's cgroup is not near its limit.
    Far,
    /// Like `Far`, with [`GROUPS`] more cgroups.
    FarAmongMany,
    /// The recorder. The program's cgroup is near its limit.
    Near,
    /// Another tool, by its name in the list of competitors.
    Tool(String),
    /// No tool, at the end. Right after the boot the system is still busy with other work.
    NoneAtEnd,
}

/// The number of memory cgroups that are far from their limit.
pub const GROUPS: usize = 2000;

/// Runs of the program that faults.
#[derive(Debug, Deserialize, Serialize)]
pub struct FaultCell {
    /// The tool that observed the runs.
    pub observer: Observer,
    /// The memory that was faulted in.
    pub mib: usize,
    /// Instructions of each run.
    pub instructions: Vec<u64>,
    /// The size of the observer's BPF maps: `memlock` in /proc/PID/fdinfo.
    pub map_bytes: Option<u64>,
}

/// The result of [`Bench::Idle`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Idle {
    /// One cell per operation and tracer.
    pub cells: Vec<IdleCell>,
}

/// Runs of one everyday operation beside one tracer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IdleCell {
    /// The operation that runs beside the tracer.
    pub operation: Operation,
    /// The tracer beside it.
    pub tracer: IdleTracer,
    /// Instructions of each run.
    pub instructions: Vec<u64>,
    /// Instructions that oomwhy's own threads ran meanwhile, in addition to those of the operation.
    pub own_instructions: u64,
}

/// The tracer that runs beside an everyday operation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum IdleTracer {
    /// No tracer runs.
    None,
    /// oomwhy with BPF trampolines.
    Fentry,
    /// oomwhy with kprobes.
    Kprobe,
}

/// An operation that every host does all the time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Operation {
    /// A process sends itself a signal and handles it.
    Signal,
    /// A cgroup is made and removed.
    Cgroup,
    /// A child is forked, exits and is waited for.
    Fork,
    /// A child is started with vfork, executes a program, and is waited for.
    Exec,
    /// A thread is created and joined.
    Thread,
    /// Anonymous pages are touched for the first time.
    Faults,
}

impl Operation {
    /// All operations, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Signal, Self::Cgroup, Self::Fork, Self::Exec, Self::Thread, Self::Faults];

    /// The operation's name on the command line of the guest's program.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Cgroup => "cgroup",
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Thread => "thread",
            Self::Faults => "fault",
        }
    }
}

/// The result of [`Bench::Counts`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Counts {
    /// One cell per number of candidates, kernel setting and tracer.
    pub cells: Vec<Cell>,
    /// The share of each BPF program in one invocation, per number of candidates.
    pub programs: Vec<Program>,
    /// Kills in quick succession.
    pub storms: Vec<Storm>,
}

/// Kills one after the other, without a pause.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Storm {
    /// The tracer of the storm.
    pub tracer: StormTracer,
    /// The number of kills.
    pub kills: u32,
    /// From the start of the first victim to the end of the last, instructions.
    pub instructions: u64,
}

/// The tracer of a storm, and when it runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StormTracer {
    /// No tracer runs: the baseline.
    None,
    /// oomwhy, stopped until the storm is over, as if another CPU did its work.
    Elsewhere,
    /// oomwhy, which takes its time from the only CPU.
    SameCpu,
}

/// A BPF program during one invocation.
#[derive(Debug, Deserialize, Serialize)]
pub struct Program {
    /// Its name in the list of BPF programs; without one, its tag.
    pub name: String,
    /// The number of tasks that the kernel evaluated.
    pub candidates: usize,
    /// How often it ran.
    pub runs: u64,
    /// Its instructions, including those that read the clock (about 60 per run), without the
    /// trampoline.
    pub instructions: u64,
}

/// Invocations under the same conditions.
#[derive(Debug, Deserialize, Serialize)]
pub struct Cell {
    /// The number of tasks that the kernel evaluates.
    pub candidates: usize,
    /// The part of its report that the kernel printed.
    pub printed: Printed,
    /// Whether oomwhy ran.
    pub traced: bool,
    /// One run per kill.
    pub runs: Vec<Run>,
}

/// The part of its report that the kernel prints about an invocation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Printed {
    /// One line, because ten reports were printed in the last five seconds.
    Line,
    /// The report without the table of tasks: vm.oom_dump_tasks = 0.
    Report,
    /// The complete report: vm.oom_dump_tasks = 1, the default.
    Tasks,
}

/// One invocation, from the end of the last reclaim before it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Run {
    /// Instructions until the victim is marked.
    pub to_mark: u64,
    /// Instructions until the trigger continues. This includes the hooks on the invocation's
    /// return.
    pub total: u64,
}

/// The result of [`Bench::Comparison`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Comparison {
    /// One measurement per tool.
    pub tools: Vec<Measured>,
    /// From the start of the invocation until a reader of /dev/kmsg has the line "Killed process".
    pub kmsg_latencies_ns: Vec<u64>,
}

/// The measurements of one tool.
#[derive(Debug, Deserialize, Serialize)]
pub struct Measured {
    /// The name under which docs/overhead.md lists the tool.
    pub name: String,
    /// From exec to the line that reports that it traces.
    pub starts_ns: Vec<u64>,
    /// The user time of the last start. The kernel counts in steps of 10 ms.
    pub start_user_ns: u64,
    /// The system time of the last start.
    pub start_system_ns: u64,
    /// Its memory once it traces.
    pub memory_ready: Memory,
    /// Its memory once it has reported the kills.
    pub memory_after_kills: Memory,
    /// Voluntary context switches of all its threads while the machine was idle.
    pub idle_wakeups: u64,
    /// The number of kills.
    pub kills: u32,
    /// From the start of the invocation until the reader has the line, for each reported kill. Some
    /// tools print before the victim is marked, so the time does not start at the mark.
    pub latencies_ns: Vec<u64>,
    /// The number of kills that it reported before its end when stdout was a pipe.
    pub lines_on_pipe: u32,
}

/// Values of /proc/PID/status.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Memory {
    /// The value of VmRSS.
    pub resident_bytes: u64,
    /// The value of RssAnon.
    pub anon_bytes: u64,
    /// The value of VmHWM.
    pub peak_bytes: u64,
}
