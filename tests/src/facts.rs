//! The facts that the guest collects about a scenario, in addition to the kernel's log and the
//! report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attempts::Attempt;

/// The file names of one scenario's results.
pub mod file {
    /// The file that contains [`super::Facts`].
    pub const FACTS: &str = "facts.json";
    /// The raw records of /dev/kmsg.
    pub const KMSG: &str = "kmsg.txt";
    /// The stdout of oomwhy.
    pub const REPORT: &str = "report.jsonl";
    /// The stderr of oomwhy.
    pub const STDERR: &str = "stderr.txt";
    /// The exit code of oomwhy, or the signal that ended it.
    pub const EXIT: &str = "exit.txt";
    /// The recording of oomwhy.
    pub const RECORDING: &str = "recording.rec";

    /// The stdout of a watcher.
    pub fn watcher_stdout(name: &str) -> String {
        format!("watcher-{name}.out")
    }

    /// The stderr of a watcher.
    pub fn watcher_stderr(name: &str) -> String {
        format!("watcher-{name}.err")
    }

    /// The exit code of a watcher, or the signal that ended it.
    pub fn watcher_exit(name: &str) -> String {
        format!("watcher-{name}.exit")
    }
}

/// The content of `facts.json`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Facts {
    /// The scenario's name.
    pub scenario: String,
    /// The output of `uname -r`.
    pub kernel_release: String,
    /// The machine's swap in pages.
    #[serde(default)]
    pub swap_pages: u64,
    /// The number of oom_scores that were read until [`crate::scenario::Step::AwaitScoreReads`]
    /// ended.
    #[serde(default)]
    pub score_reads: u64,
    /// The processes that were started.
    pub processes: Vec<Started>,
    /// The cgroups that were made.
    pub cgroups: Vec<Cgroup>,
    /// The counter `oom_kill` of /proc/vmstat before the scenario.
    pub oom_kills_before: u64,
    /// The same counter at its end.
    pub oom_kills_after: u64,
    /// The steps that did not go as planned.
    pub problems: Vec<String>,
    /// The peers that the guest does not have, each with the reason.
    #[serde(default)]
    pub not_run: Vec<String>,
    /// The attempts that were made, with the number of kills.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// The duration of its parts.
    #[serde(default)]
    pub seconds: Seconds,
}

/// The duration of the parts of a scenario, by the guest's clock.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Seconds {
    /// The time until oomwhy traces.
    pub start: f32,
    /// The time until all steps are done.
    pub steps: f32,
    /// The time until all kills are reported.
    pub reports: f32,
    /// The time until oomwhy has ended and the cgroups are removed.
    pub end: f32,
}

impl Seconds {
    /// The sum of all parts.
    pub fn total(&self) -> f32 {
        self.start + self.steps + self.reports + self.end
    }
}

impl Facts {
    /// Whether each task of this kernel holds back a part of the counters of its memory
    /// (`SPLIT_RSS_COUNTING`, up to 6.1; per-CPU batches replaced it in 6.2).
    pub fn tasks_hold_back_rss(&self) -> bool {
        self.release().is_some_and(|release| release < (6, 2))
    }

    /// Whether this kernel may print statistics of a memcg that it did not flush before
    /// (`memcg_vmstats_needs_flush`, since 6.8).
    pub fn skips_small_flushes(&self) -> bool {
        self.release().is_some_and(|release| release >= (6, 8))
    }

    /// Whether only this kernel's OOM killer adds the per-CPU batches to the counters (since 7.0).
    pub fn oom_killer_sums_exactly(&self) -> bool {
        self.release().is_some_and(|release| release >= (7, 0))
    }

    /// Whether `sched_process_exit` fires before a process releases its memory (since 6.16, commit
    /// 3e816361e94a).
    pub fn exit_precedes_release(&self) -> bool {
        self.release().is_some_and(|release| release >= (6, 16))
    }

    fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel_release.split(['.', '-']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// A process of the scenario.
#[derive(Debug, Deserialize, Serialize)]
pub struct Started {
    /// The name that the kernel shows, at most 15 bytes (`task_struct.comm`).
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// Its cgroup's path.
    pub cgroup: String,
    /// From -1000 to 1000, as it was set (/proc/PID/oom_score_adj).
    pub oom_score_adj: i16,
    /// The real user id; 0 is root.
    pub uid: u32,
    /// The path of the executable, as /proc/PID/exe shows it.
    #[serde(default)]
    pub exe: String,
    /// Its arguments, the program's name first.
    #[serde(default)]
    pub cmdline: Vec<String>,
}

/// A cgroup of the scenario.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Cgroup {
    /// Its path below the mount point, as in the scenario.
    pub path: String,
    /// The inode of its directory, which is its id.
    pub inode: u64,
    /// The limits, as the kernel reads them back.
    pub limits: BTreeMap<String, String>,
    /// `memory.events` (v1: `memory.oom_control`) at the end, or just before it was removed.
    pub events: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_counters_follow_from_release() {
        let splits = |release: &str| {
            Facts { kernel_release: release.to_owned(), ..Facts::default() }.tasks_hold_back_rss()
        };
        assert!(splits("5.10.0-46-cloud-amd64"));
        assert!(splits("6.1.0-56-cloud-amd64"));
        assert!(!splits("6.12.117+deb12-cloud-amd64"));
        assert!(!splits(""));
        let sums = |release: &str| {
            let facts = Facts { kernel_release: release.to_owned(), ..Facts::default() };
            facts.oom_killer_sums_exactly()
        };
        assert!(sums("7.3.4+deb13-cloud-amd64"));
        assert!(!sums("6.18.15+deb13-cloud-amd64"));
        assert!(!sums(""));
        let skips = |release: &str| {
            Facts { kernel_release: release.to_owned(), ..Facts::default() }.skips_small_flushes()
        };
        assert!(skips("6.12.117+deb12-cloud-amd64") && !skips("6.1.0-56-cloud-amd64"));
    }
}
