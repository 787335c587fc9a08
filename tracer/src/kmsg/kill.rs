//! The lines that say who dies, and why nobody does.

use super::{
    lines::{adj, comm_of, number32, pid},
    record::digits,
};

/// What the kernel says before it kills; nothing else is believed.
const MESSAGES: [&str; 3] =
    ["Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)", "Out of memory"];

/// `Killed process`, with what it says of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) message: Option<&'static str>,
    /// The thread that had the memory.
    pub(super) tid: i32,
    pub(super) comm: String,
    pub(super) uid: Option<u32>,
    pub(super) total_vm_kib: Option<u64>,
    pub(super) anon_kib: Option<u64>,
    pub(super) file_kib: Option<u64>,
    pub(super) shmem_kib: Option<u64>,
    pub(super) pgtables_kib: Option<u64>,
    pub(super) oom_score_adj: Option<i32>,
}

/// `Memory cgroup out of memory: Killed process 118 (hog) total-vm:206908kB, anon-rss:48780kB, \
/// file-rss:4kB, shmem-rss:700kB, UID:0 pgtables:140kB oom_score_adj:100`; up to 5.2 without its
/// beginning and its end.
pub(super) fn kill(line: &str) -> Option<Kill> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("Killed process ")?.split_once(" (")?;
    let (comm, facts) = rest.rsplit_once(") total-vm:").or_else(|| {
        // 3.10 of RHEL 7 has the user before it.
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

/// Whether a line begins as one of a kill, which a newline in the name broke.
pub(super) fn is_broken(line: &str) -> bool {
    let (_, rest) = message(line);
    let tid = rest.strip_prefix("Killed process ").and_then(|rest| rest.split_once(" ("));
    tid.is_some_and(|(tid, rest)| pid(tid).is_some() && !rest.contains("total-vm:"))
}

/// `Memory cgroup out of memory: Kill process 123 (java) score 981 or sacrifice child`, up to 5.0:
/// who was chosen; a child may die in its stead.
pub(super) fn request(line: &str) -> Option<(&'static str, i32)> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("Kill process ")?.split_once(" (")?;
    let (_, score) = rest.strip_suffix(" or sacrifice child")?.rsplit_once(") score ")?;
    digits(score)?;
    Some((message?, pid(tid)?))
}

/// `Out of memory: OOM victim 123 (java) is already exiting. Skip killing the task`
pub(super) fn exiting(line: &str) -> Option<(&'static str, i32)> {
    let (message, rest) = message(line);
    let (tid, rest) = rest.strip_prefix("OOM victim ")?.split_once(" (")?;
    rest.ends_with(") is already exiting. Skip killing the task").then_some((message?, pid(tid)?))
}

/// `Out of memory and no killable processes...`, of old kernels also as the words of a panic.
pub(super) fn nobody(line: &str) -> bool {
    let line = line.strip_prefix("Kernel panic - not syncing: ").unwrap_or(line);
    line.starts_with("Out of memory and no killable processes...")
}

/// What the reaper left of a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reaping {
    pub(super) tid: i32,
    pub(super) comm: String,
    /// Resident memory that is left, KiB.
    pub(super) left_kib: u64,
}

/// `oom_reaper: reaped process 118 (hog), now anon-rss:0kB, file-rss:0kB, shmem-rss:700kB`
pub(super) fn reaped(line: &str) -> Option<Reaping> {
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

/// `49152kB`
pub(super) fn kib(text: &str) -> Option<u64> {
    digits(text.strip_suffix("kB").or_else(|| text.strip_suffix("KB"))?)
}
