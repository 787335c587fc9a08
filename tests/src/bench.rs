//! What a boot of `cargo xtask bench` measures, as the guest hands it to the host.
//!
//! The guest only measures; what follows from the numbers (slopes, medians, limits) is worked out
//! on the host, so that raw numbers can be kept and looked at again. The guest's clock advances by
//! 1 ns per instruction: its nanoseconds are instructions.

use serde::{Deserialize, Serialize};

/// The file that [`Counts`] comes in.
pub const COUNTS_FILE: &str = "counts.json";
/// The file that [`Comparison`] comes in.
pub const COMPARISON_FILE: &str = "comparison.json";

/// The file that [`Faults`] comes in.
pub const FAULTS_FILE: &str = "faults.json";

/// What one boot measures.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Bench {
    /// Instructions of an invocation, with oomwhy and without.
    Counts {
        /// How many sleeping candidates there are beside the victim, in ascending order.
        sleepers: Vec<usize>,
        /// Kills per cell of the table.
        repeats: u32,
    },
    /// Instructions of page faults, with the growth recorder and without, and with what else would
    /// count them.
    Faults {
        /// How much memory is faulted in.
        mib: usize,
        /// Runs of each.
        repeats: u32,
        /// The others.
        tools: Vec<Tool>,
    },
    /// Start, memory, wake-ups and latency of tools that do the same.
    Comparison {
        /// The tools.
        tools: Vec<Tool>,
        /// Starts of each.
        starts: u32,
        /// Kills that each reports.
        kills: u32,
        /// How long each is left alone, guest's time.
        idle_seconds: u64,
    },
}

/// A tool that reports OOM kills.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tool {
    /// Its name in the table.
    pub name: String,
    /// How it is started.
    pub argv: Vec<String>,
    /// Its stdout: some say nothing on a pipe until they end.
    pub stdout: Stdout,
    /// What the line contains that says that it traces.
    pub ready: String,
    /// What the line contains that reports a kill.
    pub report: String,
}

/// What a tool writes to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Stdout {
    /// A pipe, as in a service or before `jq`.
    Pipe,
    /// A terminal.
    Terminal,
}

/// The result of [`Bench::Faults`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Faults {
    /// One for each way.
    pub cells: Vec<FaultCell>,
}

/// Who looks on while a program faults.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Onlooker {
    /// Nobody, right after the boot.
    NobodyYet,
    /// oomwhy without the recorder.
    Plain,
    /// The recorder; the program's group is not near its limit.
    Far,
    /// The same beside [`GROUPS`] more.
    FarAmongMany,
    /// The recorder; the group is near its limit.
    Near,
    /// Another tool.
    Tool(String),
    /// Nobody, at the end: a young system does more besides.
    Nobody,
}

/// Memory cgroups with a limit that none of them is near.
pub const GROUPS: usize = 2000;

/// Runs of the program that faults.
#[derive(Debug, Deserialize, Serialize)]
pub struct FaultCell {
    /// Who looks on.
    pub onlooker: Onlooker,
    /// How much memory was faulted in.
    pub mib: usize,
    /// Instructions of each run.
    pub instructions: Vec<u64>,
    /// What the onlooker's BPF maps take, as the kernel says in /proc/PID/fdinfo (`memlock`).
    pub map_bytes: Option<u64>,
}

/// The result of [`Bench::Counts`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Counts {
    /// One per number of candidates, setting and tracer.
    pub cells: Vec<Cell>,
    /// The share of each BPF program in one invocation, per number of candidates.
    pub programs: Vec<Program>,
    /// Kills in quick succession.
    pub storms: Vec<Storm>,
}

/// Kills one after the other, without a pause.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Storm {
    /// Who traces.
    pub tracer: StormTracer,
    /// How many kills.
    pub kills: u32,
    /// From the start of the first victim to the end of the last, instructions.
    pub instructions: u64,
}

/// Who traces a storm.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StormTracer {
    /// Nobody.
    None,
    /// oomwhy, whose own work waits until the storm is over, as if another CPU did it.
    Elsewhere,
    /// oomwhy, which takes its time from the only CPU.
    SameCpu,
}

/// A BPF program during one invocation.
#[derive(Debug, Deserialize, Serialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Tasks that were weighed.
    pub candidates: usize,
    /// How often it ran.
    pub runs: u64,
    /// What it took, with what reading the clock takes (some 60 per run), without the trampoline.
    pub instructions: u64,
}

/// Invocations under the same conditions.
#[derive(Debug, Deserialize, Serialize)]
pub struct Cell {
    /// Tasks that are weighed.
    pub candidates: usize,
    /// What the kernel itself printed about it.
    pub printed: Printed,
    /// Whether oomwhy ran.
    pub traced: bool,
    /// One per kill.
    pub runs: Vec<Run>,
}

/// What the kernel prints about an invocation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Printed {
    /// One line: there were ten reports within five seconds already.
    Line,
    /// Its report without the table of tasks: vm.oom_dump_tasks = 0.
    Report,
    /// All of it: vm.oom_dump_tasks = 1, the default.
    Tasks,
}

/// One invocation, from the end of the last reclaim before it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Run {
    /// Instructions until the victim is marked.
    pub to_mark: u64,
    /// Instructions until the trigger goes on: everything that hooks on the invocation's return do
    /// is in it.
    pub whole: u64,
}

/// The result of [`Bench::Comparison`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Comparison {
    /// One per tool.
    pub tools: Vec<Measured>,
    /// From the begin of the invocation until a reader of /dev/kmsg has the line "Killed process".
    pub kmsg_latencies_ns: Vec<u64>,
}

/// What was measured of one tool.
#[derive(Debug, Deserialize, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// From exec to the line that says that it traces.
    pub starts_ns: Vec<u64>,
    /// The program's own part of the last start; the kernel counts in steps of 10 ms.
    pub start_user_ns: u64,
    /// The kernel's part of it.
    pub start_system_ns: u64,
    /// Once it traces.
    pub memory_ready: Memory,
    /// Once it has reported the kills.
    pub memory_after_kills: Memory,
    /// Voluntary context switches of all its threads while nothing happened.
    pub idle_wakeups: u64,
    /// How many kills there were.
    pub kills: u32,
    /// From the begin of the invocation until the reader has the line, for the kills reported. Some
    /// tools print before the victim is marked, so the mark is no begin.
    pub latencies_ns: Vec<u64>,
    /// Of as many kills, how many lines came before its end when stdout was a pipe.
    pub lines_on_pipe: u32,
}

/// What /proc/PID/status says.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Memory {
    /// VmRSS.
    pub resident_bytes: u64,
    /// RssAnon.
    pub anon_bytes: u64,
    /// VmHWM.
    pub peak_bytes: u64,
}
