//! The lines of kills, and of choices without a kill.

use super::{
    lines::{adj, comm_of, number32, pid},
    record::digits,
};

/// The messages before a kill; no other text is accepted.
const MESSAGES: [&str; 3] =
    ["Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)", "Out of memory"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) message: Option<&'static str>,
    /// The thread that has the memory.
    pub(crate) tid: i32,
    pub(crate) comm: String,
    pub(crate) uid: Option<u32>,
    pub(crate) total_vm_kib: Option<u64>,
    pub(crate) anon_kib: Option<u64>,
    pub(crate) file_kib: Option<u64>,
    pub(crate) shmem_kib: Option<u64>,
    pub(crate) pgtables_kib: Option<u64>,
    pub(crate) oom_score_adj: Option<i32>,
}

/// `Memory cgroup out of memory: Killed process 118 (hog) total-vm:206908kB, anon-rss:48780kB, \
/// file-rss:4kB, shmem-rss:700kB, UID:0 pgtables:140kB oom_score_adj:100`; up to 5.2 without its
/// beginning and its end.
pub(crate) fn kill(line: &str) -> Option<Kill> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("Killed process ")?.split_once(" (")?;
    let (comm, facts) = rest.rsplit_once(") total-vm:").or_else(|| {
        // 3.10 of RHEL 7 prints the user before it.
        let (rest, facts) = rest.rsplit_once(", total-vm:")?;
        let (comm, uid) = rest.rsplit_once("), UID ")?;
        digits(uid).map(|_| (comm, facts))
    })?;
    let mut kill = Kill { message, tid: pid(tid)?, comm: comm_of(comm)?, ..Kill::default() };
    let (total_vm, facts) = facts.split_once(',').unwrap_or((facts, ""));
    kill.total_vm_kib = Some(kib(total_vm)?);
    for fact in facts.split([' ', ',']) {
        let Some((key, value)) = fact.split_once(':') else {
            continue;
        };
        match key {
            "anon-rss" => kill.anon_kib = kib(value),
            "file-rss" => kill.file_kib = kib(value),
            "shmem-rss" => kill.shmem_kib = kib(value),
            "UID" => kill.uid = number32(value),
            "pgtables" => kill.pgtables_kib = kib(value),
            "oom_score_adj" => kill.oom_score_adj = adj(value),
            _ => {}
        }
    }
    Some(kill)
}

/// Whether a line is the beginning of a kill's line that a newline in the name broke.
pub(crate) fn is_broken(line: &str) -> bool {
    let (_, rest) = message(line);
    let tid = rest.strip_prefix("Killed process ").and_then(|rest| rest.split_once(" ("));
    tid.is_some_and(|(tid, rest)| pid(tid).is_some() && !rest.contains("total-vm:"))
}

/// `Memory cgroup out of memory: Kill process 123 (java) score 981 or sacrifice child`, up to 5.0:
/// the chosen thread. A child may be killed instead.
pub(crate) fn request(line: &str) -> Option<(&'static str, i32)> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("Kill process ")?.split_once(" (")?;
    let (_, score) = rest.strip_suffix(" or sacrifice child")?.rsplit_once(") score ")?;
    digits(score)?;
    Some((message?, pid(tid)?))
}

/// `Out of memory: OOM victim 123 (java) is already exiting. Skip killing the task`
pub(crate) fn exiting(line: &str) -> Option<(&'static str, i32)> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("OOM victim ")?.split_once(" (")?;
    rest.ends_with(") is already exiting. Skip killing the task").then_some((message?, pid(tid)?))
}

/// `Out of memory and no killable processes...`; old kernels also print it as a panic.
pub(crate) fn no_victim(line: &str) -> bool {
    let message = line.strip_prefix("Kernel panic - not syncing: ").unwrap_or(line);
    message.starts_with("Out of memory and no killable processes...")
}

/// A line of the OOM reaper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reaping {
    pub(crate) tid: i32,
    pub(crate) comm: String,
    /// Resident memory that is left, KiB.
    pub(crate) left_kib: u64,
}

/// `oom_reaper: reaped process 118 (hog), now anon-rss:0kB, file-rss:0kB, shmem-rss:700kB`
pub(crate) fn reaped(line: &str) -> Option<Reaping> {
    let (tid, rest) = line.strip_prefix("oom_reaper: reaped process ")?.split_once(" (")?;
    let (comm, facts) = rest.rsplit_once("), now anon-rss:")?;
    let mut left_kib = 0_u64;
    for fact in facts.split(", ") {
        let size = fact.rsplit(':').next()?;
        left_kib = left_kib.checked_add(kib(size)?)?;
    }
    Some(Reaping { tid: pid(tid)?, comm: comm_of(comm)?, left_kib })
}

fn message(line: &str) -> (Option<&'static str>, &str) {
    let known = MESSAGES
        .iter()
        .find_map(|words| Some((Some(*words), line.strip_prefix(words)?.strip_prefix(": ")?)));
    known.unwrap_or((None, line))
}

/// Parses a size like `49152kB`.
pub(crate) fn kib(text: &str) -> Option<u64> {
    digits(text.strip_suffix("kB").or_else(|| text.strip_suffix("KB"))?)
}
