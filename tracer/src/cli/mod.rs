//! The command line: what can be asked for. Its doc comments are the help.
//!
//! `-o` names a format, as in kubectl and journalctl; files go to `--output-file`.

mod check;
mod destination;
mod durations;
mod explain;
mod flame;
mod history;
mod risk;
mod share;
mod sizes;
mod symbolize;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint, value_parser,
};
use clap_complete::Shell;

pub(crate) use self::{
    check::{CheckArgs, CheckFormat},
    destination::{Color, ColorArgs, Destination},
    explain::ExplainArgs,
    flame::{FlameArgs, ProfileFormat},
    history::{
        DirArgs, ExportArgs, ExportFormat, ListArgs, ListFormat, MatchArgs, ShowArgs, ShowFormat,
        StoreArgs,
    },
    risk::{OutlookFormat, RiskArgs},
    symbolize::SymbolizeArgs,
};
use crate::{host::btf::KERNEL_BTF, model::report::Tier};

const EXAMPLES: &str = "\
Examples:
  oomwhy                               trace until Ctrl-C
  oomwhy -o json --count 1             the next kill as one JSON object
  oomwhy --cgroup '/kubepods/**'       kills that involve these cgroups only
  oomwhy --record kills.rec            trace, and keep the raw events
  oomwhy replay kills.rec --comm java  report again from a recording
  oomwhy watch --store                 trace, and remember
  oomwhy list -S yesterday             what was remembered since yesterday";

const WATCH_EXAMPLES: &str = "\
Examples:
  oomwhy watch -o json --count 1           the next kill as one JSON object
  oomwhy watch -p 4242,4243                kills of or by these processes
  oomwhy watch --store --max-age 90d       trace, and keep 90 days of reports";

const REPLAY_EXAMPLES: &str = "\
Examples:
  oomwhy replay kills.rec                  every report again, as text
  oomwhy replay kills.rec -o json --comm java  java's only, as JSON";

const UNPIN_EXAMPLES: &str = "\
Examples:
  oomwhy unpin /sys/fs/bpf/oomwhy          after the last oomwhy --pin has ended";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  oomwhy schema                            to be given to a validator or a code generator";

const MAN_EXAMPLES: &str = "\
Examples:
  oomwhy man                               this program's page
  oomwhy man --dir man1                    a page for each command";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  oomwhy completions bash                  for /etc/bash_completion.d/oomwhy
  oomwhy completions zsh                   for a directory of $fpath, as _oomwhy";

/// Tells who was killed by the OOM killer, by whose limit, and why that one.
///
/// Attaches to the kernel's OOM killer and prints a report for every invocation: the victims, the
/// task whose allocation it was, the limit that was hit, and every candidate with the parts of its
/// badness. Costs nothing while nothing runs out of memory. Sizes are in IEC units (1 MiB = 1024
/// KiB); points are pages, as in the kernel.
#[derive(Debug, Parser)]
#[command(
    name = "oomwhy",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: WatchArgs,
}

impl Cli {
    /// What to do; `watch` when no command is named.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Watch(self.watch))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace now; what oomwhy does when no command is named.
    Watch(WatchArgs),
    /// Report from a recording made with --record.
    ///
    /// The output is the same, byte for byte, as when it was made.
    Replay(ReplayArgs),
    /// Give the long answer: who, whose limit, why that one, what grew, what to change.
    ///
    /// For reports that -o json printed, and for the text of a kernel's log of any version from 4.19 on, with
    /// whatever dmesg, syslog or journalctl put before its lines. Exit code 1 if there is no kill in it.
    /// The page of -o html needs nothing but itself: attach it to the incident.
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Draw what grew before a kill: bytes by place in the code.
    ///
    /// For reports of `oomwhy watch --growth`. Exit code 1 if there is none.
    #[command(after_help = flame::EXAMPLES)]
    Flame(FlameArgs),
    /// Show who is near a limit, how fast it grows, and who would die.
    ///
    /// For each cgroup with a limit: what it uses, what of that could be reclaimed, when it would
    /// be full at the present pace, and whom the OOM killer would choose now, by the kernel's own sum.
    /// Reads cgroupfs and /proc; needs neither BPF nor, for one's own processes, root.
    #[command(after_help = risk::EXAMPLES)]
    Risk(RiskArgs),
    /// List reports of the history, the newest last.
    ///
    /// The history is what `oomwhy watch --store` keeps. Nothing that matches: exit code 1.
    List(ListArgs),
    /// Print one report of the history as `oomwhy watch` does.
    Show(ShowArgs),
    /// Print reports of the history as JSON.
    Export(ExportArgs),
    /// Remove what --pin has left in DIR, which detaches it.
    ///
    /// What nobody has reported yet is given up.
    #[command(after_help = UNPIN_EXAMPLES)]
    Unpin {
        /// The directory.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Say what this host supports, and why not.
    ///
    /// One line per hook and per group of fields, with what is missing and what mends it. Programs are
    /// loaded and attached for a moment. Exits with 0 if the full report is to be had, 77 if a permission or
    /// a setting is missing, 69 if the kernel lacks something.
    Check(CheckArgs),
    /// Print the JSON Schema of what -o json prints.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Print the manual page, or write those of all commands.
    #[command(hide = true, after_help = MAN_EXAMPLES)]
    Man {
        /// Write one page per command into DIR.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Name the frames of user stacks, in reports that have only build ids.
    ///
    /// A frame is a place in a file: the file's build id and an offset. With the same file, or with the symbols that were stripped off it, it can be named later and elsewhere.
    #[command(after_help = symbolize::EXAMPLES)]
    Symbolize(SymbolizeArgs),
    /// Name places in files: how oomwhy asks itself, in a process of its own.
    #[command(hide = true)]
    UserSymbols,
    /// Name addresses of the kernel: how oomwhy asks itself, in a process of its own.
    #[command(hide = true)]
    KernelSymbols,
    /// The child that a self-test kills: how oomwhy starts itself.
    #[command(hide = true)]
    SelfTestVictim {
        /// Directory of the cgroup to join.
        cgroup: PathBuf,
    },
    /// Print what is read of a kernel's BTF, as BTF: for the tests, and for reports of bugs.
    #[command(hide = true)]
    ReducedBtf {
        /// The BTF.
        #[arg(default_value = KERNEL_BTF, value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Print the completions for a shell.
    #[command(hide = true, after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What `watch` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = WATCH_EXAMPLES)]
pub struct WatchArgs {
    /// How and where to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Which reports.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Whether to remember.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What is told of command lines.
    #[command(flatten)]
    pub privacy: PrivacyArgs,
    /// Keep the raw events for `oomwhy replay`.
    ///
    /// FILE is made for its owner only; one that has something in it is left alone.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,
    /// Keep the probes attached when oomwhy ends, in a directory on a BPF file system.
    ///
    /// The next oomwhy with the same DIR, e.g. /sys/fs/bpf/oomwhy, first reports what happened in between. Each kill is reported once, whenever
    /// oomwhy is killed or upgraded; into a pipe one that was just being written may come twice, with the same id. --output-file is
    /// appended to. What a filter holds back is not kept for the next one; what comes after --count is. A recording is of one
    /// run. `oomwhy unpin DIR` ends it.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub pin: Option<PathBuf>,
    /// Record what grows in cgroups near their limits.
    ///
    /// Reports then have `growth`: the usage of the last hour, its shape and pace, and the bytes per process and stack. A probe
    /// runs once for each 64 pages that are charged to a memory cgroup; its maps take about 3.5 MiB.
    #[arg(long)]
    pub growth: bool,
    /// With --growth: from which share of its limit on a cgroup is recorded [default: 50%].
    ///
    /// 0%: always. Cgroups without a limit, or with no limit above them, are not recorded.
    #[arg(long, hide_short_help = true, value_name = "SHARE", requires = "growth", value_parser = share::parse)]
    pub growth_above: Option<u32>,
    /// BTF of a kernel that does not bring its own.
    ///
    /// Most do, in /sys/kernel/btf/vmlinux.
    #[arg(long, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub btf: Option<PathBuf>,
    /// How to look at the kernel: auto, fentry, kprobe, tracepoint or kmsg [default: auto].
    ///
    /// auto: the first of them that this host permits. fentry and kprobe tell everything; tracepoint
    /// tells who was killed by whose allocation; kmsg reads the kernel's log, which needs no BPF.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "TIER",
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub attach: Attach,
    /// With the kernel's log: first the kills that are in it already.
    #[arg(long, hide_short_help = true)]
    pub backlog: bool,
    /// Size of the event ring [default: 512KiB].
    ///
    /// In bytes, KiB or MiB, a power of two. A ring that is too small loses records when many kills come at once; every loss is counted
    /// and reported. The memory is taken at the start and locked.
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = sizes::ring_size)]
    pub ring_size: Option<u32>,
    /// Longest time between comparisons with the kernel's own count of kills [default: 10min].
    ///
    /// Kills that the kernel counted (oom_kill in /proc/vmstat) and that were not seen are reported as a gap. They are compared soon after every kill and at the end too;
    /// this is for a host on which nothing is seen at all. From 1s to 24h.
    #[arg(long, hide_short_help = true, value_name = "DURATION", value_parser = durations::cross_check)]
    pub cross_check: Option<Duration>,
    /// Longest time a report waits for its victims to be gone [default: 10s].
    ///
    /// Until they have exited and their memory is back, or so long: then it is said which of them are stuck. Text is printed at once and a line follows; JSON is printed when the report
    /// is closed. 0s: at once, without what becomes of the victims. Up to 10min.
    #[arg(long, hide_short_help = true, value_name = "DURATION", value_parser = durations::close_after)]
    pub close_after: Option<Duration>,
}

/// What `replay` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct ReplayArgs {
    /// The recording.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// How and where to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Which reports.
    #[command(flatten)]
    pub select: SelectArgs,
    /// What is told of command lines.
    #[command(flatten)]
    pub privacy: PrivacyArgs,
}

/// How and where to print.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// Format: text, json or events.
    ///
    /// text: a block per invocation, for people. json: one object a line, stable, see `oomwhy schema`.
    /// events: every decoded kernel event as it comes, for debugging.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: Format,
    /// Where.
    #[command(flatten)]
    pub to: Destination,
    /// Whether in color.
    #[command(flatten)]
    pub color: ColorArgs,
    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    pub quiet: bool,
    /// Show long lists whole.
    ///
    /// And, when tracing, say on stderr where this kernel keeps what is read and how the probes were loaded.
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,
}

/// Which reports. All conditions must hold.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectArgs {
    /// Exit after N reports.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Only kills that involve this cgroup.
    ///
    /// The one whose limit was hit, the victim's or the trigger's, itself or by an ancestor. `*` stands for part of a name, `**` for any number of names.
    #[arg(long, value_name = "GLOB")]
    pub cgroup: Option<String>,
    /// Only if a victim or the trigger has this name.
    ///
    /// The kernel's name of a task, 15 bytes at most; the chosen task counts too.
    #[arg(long, value_name = "NAME")]
    pub comm: Option<String>,
    /// Only if a victim or the trigger is one of these.
    ///
    /// Process ids as `ps` shows them on the host; the chosen task counts too.
    #[arg(short, long, value_name = "PID[,PID]", value_delimiter = ',',
        value_parser = value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,
}

/// What is told of command lines, which can hold secrets.
#[derive(Args, Clone, Debug, Default)]
pub struct PrivacyArgs {
    /// Leave command lines out.
    ///
    /// Of every output, and of what --record keeps.
    #[arg(long)]
    pub no_cmdline: bool,
    /// Mask what matches in command lines.
    ///
    /// In every output; what --record keeps is not masked. The arguments are joined with blanks. Of an expression with a group the group alone is masked: '--password[= ](\S+)'.
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, conflicts_with = "no_cmdline")]
    pub redact: Option<String>,
}

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A block of text per invocation.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// Each decoded kernel event as it comes.
    Events,
}

/// How to look at the kernel, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// The best that this host permits.
    #[default]
    Auto,
    /// BPF trampolines.
    Fentry,
    /// Kprobes.
    Kprobe,
    /// The tracepoint oom:mark_victim alone.
    Tracepoint,
    /// The kernel's log.
    Kmsg,
}

/// Below this share of a limit nothing is recorded, unless it is asked for.
const GROWTH_ABOVE_PERCENT: u32 = 50;

impl WatchArgs {
    /// From which share of a limit on growth is recorded, percent, if it is.
    pub fn growth_above_percent(&self) -> Option<u32> {
        self.growth.then(|| self.growth_above.unwrap_or(GROWTH_ABOVE_PERCENT))
    }
}

impl Attach {
    /// The tiers to try, in this order.
    pub fn tiers(self) -> &'static [Tier] {
        match self {
            Self::Auto => &[Tier::Fentry, Tier::Kprobe, Tier::Tracepoint, Tier::Kmsg],
            Self::Fentry => &[Tier::Fentry],
            Self::Kprobe => &[Tier::Kprobe],
            Self::Tracepoint => &[Tier::Tracepoint],
            Self::Kmsg => &[Tier::Kmsg],
        }
    }
}

/// Writes the completions for a shell.
pub(crate) fn write_completions(shell: Shell, out: &mut dyn io::Write) {
    clap_complete::generate(shell, &mut <Cli as CommandFactory>::command(), "oomwhy", out);
}

/// Writes the manual page.
pub(crate) fn write_man(out: &mut dyn io::Write) -> io::Result<()> {
    clap_mangen::Man::new(<Cli as CommandFactory>::command()).render(out)
}

/// Writes a manual page for each command that is not hidden, as oomwhy-COMMAND.1.
pub(crate) fn write_man_pages(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(<Cli as CommandFactory>::command(), directory)
}

#[cfg(test)]
mod tests;
