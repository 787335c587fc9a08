//! What the guest knows about a scenario besides the two accounts that are compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file names of one scenario's results.
pub mod file {
    /// [`super::Facts`].
    pub const FACTS: &str = "facts.json";
    /// Raw records of /dev/kmsg.
    pub const KMSG: &str = "kmsg.txt";
    /// oomwhy's stdout.
    pub const REPORT: &str = "report.jsonl";
    /// oomwhy's stderr.
    pub const STDERR: &str = "stderr.txt";
    /// oomwhy's exit code, or what ended it.
    pub const EXIT: &str = "exit.txt";
    /// oomwhy's recording.
    pub const RECORDING: &str = "recording.rec";

    /// The stdout of a watcher.
    pub fn watcher_stdout(name: &str) -> String {
        format!("watcher-{name}.out")
    }

    /// The stderr of a watcher.
    pub fn watcher_stderr(name: &str) -> String {
        format!("watcher-{name}.err")
    }

    /// The exit code of a watcher, or what ended it.
    pub fn watcher_exit(name: &str) -> String {
        format!("watcher-{name}.exit")
    }
}

/// The content of `facts.json`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Facts {
    /// The scenario's name.
    pub scenario: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// The machine's swap, pages.
    #[serde(default)]
    pub swap_pages: u64,
    /// How many oom_scores were read before [`crate::scenario::Step::AwaitScoreReads`] was over.
    #[serde(default)]
    pub score_reads: u64,
    /// What was started.
    pub processes: Vec<Started>,
    /// The cgroups that were made.
    pub cgroups: Vec<Cgroup>,
    /// The counter `oom_kill` of /proc/vmstat before the scenario.
    pub oom_kills_before: u64,
    /// The same counter at its end.
    pub oom_kills_after: u64,
    /// What did not go as planned.
    pub problems: Vec<String>,
    /// How long its parts took.
    #[serde(default)]
    pub seconds: Seconds,
}

/// The duration of the parts of a scenario, by the guest's clock.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Seconds {
    /// Until oomwhy traces.
    pub start: f32,
    /// Until all steps are done.
    pub steps: f32,
    /// Until all kills are reported.
    pub reports: f32,
    /// Until oomwhy has ended and the cgroups are removed.
    pub end: f32,
}

impl Seconds {
    /// All parts together.
    pub fn total(&self) -> f32 {
        self.start + self.steps + self.reports + self.end
    }
}

impl Facts {
    /// Whether each task of this kernel keeps back a part of the counters of its memory
    /// (`SPLIT_RSS_COUNTING`, up to 6.1; per-CPU batches took its place in 6.2).
    pub fn tasks_hold_back_rss(&self) -> bool {
        self.release().is_some_and(|release| release < (6, 2))
    }

    /// Whether this kernel's OOM killer adds the per-CPU batches to the counters, which nobody else
    /// does (7.0).
    pub fn oom_killer_sums_exactly(&self) -> bool {
        self.release().is_some_and(|release| release >= (7, 0))
    }

    /// Whether `sched_process_exit` comes before the memory of a process is given back (since 6.16,
    /// commit 3e816361e94a).
    pub fn tells_exits_early(&self) -> bool {
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
    /// Its name.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// Its cgroup's path.
    pub cgroup: String,
    /// Its oom_score_adj.
    pub oom_score_adj: i16,
    /// Its user.
    pub uid: u32,
    /// Its executable.
    #[serde(default)]
    pub exe: String,
    /// Its arguments, the program's name first.
    #[serde(default)]
    pub cmdline: Vec<String>,
}

/// A cgroup of the scenario.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Cgroup {
    /// Its path below the mount point, as the scenario has it.
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
    }
}
