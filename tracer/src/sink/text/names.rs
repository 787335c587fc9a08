//! How tasks, cgroups and sizes are called in text. The only place that reads untrusted strings.

use super::{layout::elide, units};
use crate::{
    report::{Candidate, Cgroup, Trigger, Victim, original},
    sanitize::sanitize,
};

/// Columns of a name: a comm of 15 bytes that are all escaped would take a line of its own.
const NAME: usize = 24;

/// "java[4242]", or "pid 4242" for one whose name is not known.
pub(crate) fn task(comm: Option<&str>, hex: Option<&str>, pid: i32) -> String {
    match comm {
        Some(comm) => format!("{}[{pid}]", self::comm(comm, hex)),
        None => format!("pid {pid}"),
    }
}

/// A task's name, safe and not too long.
pub(crate) fn comm(comm: &str, hex: Option<&str>) -> String {
    elide(&sanitize(&original(comm, hex)), NAME)
}

/// The victim's name.
pub(crate) fn victim(victim: &Victim) -> String {
    task(victim.comm.as_deref(), victim.comm_hex.as_deref(), victim.pid)
}

/// The trigger's name.
pub(crate) fn trigger(trigger: &Trigger) -> String {
    task(trigger.comm.as_deref(), trigger.comm_hex.as_deref(), trigger.pid)
}

/// The candidate's name.
pub(crate) fn candidate(candidate: &Candidate) -> String {
    task(candidate.comm.as_deref(), candidate.comm_hex.as_deref(), candidate.pid)
}

/// The cgroup's path, or its id where the path is not known.
pub(crate) fn cgroup(cgroup: &Cgroup) -> Option<String> {
    let Cgroup { id, path, path_hex, path_truncated } = cgroup;
    let path = path.as_deref().map(|path| {
        let path = sanitize(&original(path, path_hex.as_deref()));
        if *path_truncated { format!("...{path}") } else { path }
    });
    path.or_else(|| id.as_deref().map(|id| format!("cgroup id {}", sanitize(id.as_bytes()))))
}

/// Resident memory of a victim, when all of its parts are known.
pub(crate) fn resident(victim: &Victim) -> Option<u64> {
    let Victim { anon_rss_bytes, file_rss_bytes, shmem_rss_bytes, .. } = victim;
    Some((*anon_rss_bytes)?.saturating_add((*file_rss_bytes)?).saturating_add((*shmem_rss_bytes)?))
}

/// A limit: its size, "no limit", or nothing when it is not known.
pub(crate) fn limit(bytes: Option<u64>, is_unlimited: bool) -> Option<String> {
    if is_unlimited { Some("no limit".to_owned()) } else { bytes.map(units::bytes) }
}
