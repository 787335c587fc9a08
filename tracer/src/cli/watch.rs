//! `oomwhy watch`, which is also what `oomwhy` does without a command.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

use super::{OutputArgs, PrivacyArgs, SelectArgs, StoreArgs, durations, share, sizes};
use crate::model::report::Tier;

const WATCH_EXAMPLES: &str = "\
Examples:
  oomwhy watch -o json --count 1           the next kill as one JSON object
  oomwhy watch -p 4242,4243                kills of or by these processes
  oomwhy watch --store --max-age 90d       trace, and keep 90 days of reports";

#[derive(Args, Clone, Debug, Default)]
#[command(after_help = WATCH_EXAMPLES)]
pub struct WatchArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub privacy: PrivacyArgs,
    /// Record the raw events in FILE, for `oomwhy replay`.
    ///
    /// Only the owner can read FILE. oomwhy refuses a FILE that is not empty. If FILE cannot be
    /// written any more, the recording ends and tracing goes on.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,
    /// Keep the probes attached after oomwhy exits, pinned in DIR on a BPF file system.
    ///
    /// The next `oomwhy --pin DIR` first reports the kills that happened in between. Each kill is
    /// reported once, even if oomwhy is killed or upgraded. If the output is a pipe, a report that
    /// was being written may come twice, with the same id.
    ///
    /// DIR must be for oomwhy alone, so that nobody else can put probes there or move them away. If
    /// DIR does not exist, oomwhy makes it.
    ///
    /// Kills that your filters reject are dropped, not kept for the next run. Kills after --count
    /// is reached are kept. --record covers one run only. `oomwhy unpin DIR` detaches the probes.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub pin: Option<PathBuf>,
    /// Record memory growth in cgroups near their limits.
    ///
    /// Reports then have `growth`: the usage of the last hour, its shape and rate, and the bytes
    /// per process and stack. A probe runs once for each 64 pages that are charged to a memory
    /// cgroup; its maps take about 3.5 MiB.
    #[arg(long)]
    pub growth: bool,
    /// Record growth only for cgroups above this share of their limit [default: 50%].
    ///
    /// 0% records always. Cgroups without a limit, their own or an ancestor's, are not recorded.
    /// Needs --growth.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SHARE",
        requires = "growth",
        value_parser = share::parse
    )]
    pub growth_above: Option<u32>,
    /// Use this BTF file if the kernel has none in /sys/kernel/btf/vmlinux.
    #[arg(long, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub btf: Option<PathBuf>,
    /// Attach by: auto, fentry, kprobe, tracepoint or kmsg [default: auto].
    ///
    /// auto uses the first of the others that this host allows. fentry and kprobe collect
    /// everything. tracepoint shows who was killed and where, without limits and candidates. kmsg
    /// reads the kernel log and needs no BPF.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "TIER",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub attach: Attach,
    /// Report the kills that are already in the kernel log, then go on.
    ///
    /// Works with the kmsg tier.
    #[arg(long, hide_short_help = true)]
    pub backlog: bool,
    /// Set the size of the ring buffer for details [default: 512KiB].
    ///
    /// A power of two from 128KiB to 1GiB, in bytes, KiB, MiB or GiB. If the ring is too small,
    /// reports have less detail when many kills come at once, and list the missing keys. Kills have
    /// a ring buffer of their own, which holds 4,096 of them. The memory is allocated at the start
    /// and locked.
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = sizes::ring_size)]
    pub ring_size: Option<u32>,
    /// Compare with the kernel's own count of kills at least this often [default: 10min].
    ///
    /// Kills that the kernel counted (oom_kill in /proc/vmstat) but oomwhy did not see are reported
    /// as a gap. oomwhy compares soon after every kill and at the end as well, so this matters only
    /// while no kill is seen. From 1s to 24h.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DURATION",
        value_parser = durations::cross_check
    )]
    pub cross_check: Option<Duration>,
    /// Wait up to DURATION for the victims to exit and release their memory [default: 10s].
    ///
    /// Victims still alive after that are reported as stuck. Text is printed at once, with one line
    /// more at the end; JSON is printed once, when the report is final. 0s does not wait. Up to
    /// 10min.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DURATION",
        value_parser = durations::close_after
    )]
    pub close_after: Option<Duration>,
}

/// Attach methods, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// The best that this host allows.
    #[default]
    Auto,
    /// BPF trampolines: the least cost per call.
    Fentry,
    /// Kprobes, which need no BPF trampolines.
    Kprobe,
    /// Only the tracepoint oom:mark_victim.
    Tracepoint,
    /// The kernel log.
    Kmsg,
}

/// Growth below this share of a limit is noise for most hosts. Percent.
const GROWTH_ABOVE_PERCENT: u32 = 50;

impl WatchArgs {
    /// The share of a limit above which growth is recorded, in percent; `None` without `--growth`.
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
