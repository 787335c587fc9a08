//! Reads the /proc files of a task that was just marked as a victim. On hosts where only the
//! tracepoint `oom:mark_victim` is available, the event has few fields. The files are read at once,
//! because the task is gone in milliseconds.
//!
//! The cgroup comes from the victim's own file. The task that runs at the mark is the trigger,
//! which may be in another cgroup.

use std::path::Path;

use oomwhy_common::{
    event::{EventHeader, MarkEvent, VictimEvent, kind, mm},
    valid,
};
use zerocopy::{FromBytes as _, FromZeros as _};

use crate::{
    host::procfs::{file, process},
    model::wire::head,
};

/// A task as /proc shows it. A field is `None` if it was read too late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcTask {
    pub tgid: i32,
    /// Process id in the innermost pid namespace.
    pub vpid: Option<i32>,
    /// Name of the thread, untrusted.
    pub comm: Vec<u8>,
    /// The real user id.
    pub uid: u32,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// `None` once the task has released its memory.
    pub memory: Option<ProcMemory>,
    /// Path of its memory cgroup below the mount point.
    pub cgroup: Option<String>,
}

/// Sizes in KiB, from the lines `VmSize`, `RssAnon`, `RssFile`, `RssShmem`, `VmSwap` and `VmPTE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcMemory {
    pub total_vm: u64,
    pub anon: u64,
    pub file: u64,
    pub shmem: u64,
    pub swap: u64,
    pub pgtables: u64,
}

/// Reads a thread. `None` once it is gone.
pub(crate) fn read(proc: &Path, tid: i32) -> Option<ProcTask> {
    let folder = proc.join(tid.to_string());
    // First the file that loses its content first.
    let mut task = status_of(&file::read_text(&folder.join("status"))?)?;
    let text = |name: &str| file::read_text(&folder.join(name));
    task.comm = file::read(&folder.join("comm"))?;
    while task.comm.last() == Some(&b'\n') {
        task.comm.pop();
    }
    task.oom_score_adj = text("oom_score_adj").and_then(|adj| adj.trim().parse().ok());
    task.cgroup = text("cgroup").as_deref().and_then(process::cgroup_of);
    Some(task)
}

/// Parses /proc/PID/status, whose sizes are in KiB.
fn status_of(text: &str) -> Option<ProcTask> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let first = |key: &str| value(key)?.split_whitespace().next();
    let kib = |key: &str| value(key)?.strip_suffix(" kB")?.trim().parse::<u64>().ok();
    let memory = || {
        Some(ProcMemory {
            total_vm: kib("VmSize:")?,
            anon: kib("RssAnon:")?,
            file: kib("RssFile:")?,
            shmem: kib("RssShmem:")?,
            swap: kib("VmSwap:")?,
            pgtables: kib("VmPTE:")?,
        })
    };
    Some(ProcTask {
        tgid: first("Tgid:")?.parse().ok()?,
        vpid: value("NStgid:").and_then(|ids| ids.split_whitespace().last()?.parse().ok()),
        uid: first("Uid:")?.parse().ok()?,
        memory: memory(),
        ..ProcTask::default()
    })
}

/// The mark in this record, if no victim record comes for it.
pub(crate) fn unfinished(record: &[u8]) -> Option<MarkEvent> {
    let (header, _) = EventHeader::read_from_prefix(record).ok()?;
    if header.kind != kind::MARK || header.valid & valid::mark::VICTIM_REPORTED != 0 {
        return None;
    }
    Some(head::<MarkEvent>(record).0)
}

/// The victim record that the probes would have written, made from the mark and /proc. `None` if
/// the thread's process is unknown. Pure.
pub(crate) fn victim(
    mark: &MarkEvent,
    found: Option<&ProcTask>,
    cgroup_id: Option<u64>,
    page_size: u64,
) -> Option<VictimEvent> {
    let has = |bit| mark.header.valid & bit != 0;
    let mut event = VictimEvent::new_zeroed();
    let size = u32::try_from(size_of::<VictimEvent>()).ok()?;
    event.header = EventHeader { kind: kind::VICTIM, size, valid: 0, ..mark.header };
    let known = &mut event.header.valid;
    let task = &mut event.task;
    task.tid = mark.tid;
    task.tgid = match found {
        Some(found) => found.tgid,
        None if has(valid::mark::CURRENT) => mark.tgid,
        None => return None,
    };
    if has(valid::mark::FIELDS) || has(valid::mark::CURRENT) {
        (task.comm, task.uid) = (mark.comm, mark.uid);
    } else if let Some(found) = found {
        let name = found.comm.iter().take(task.comm.len() - 1);
        task.comm.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        task.uid = found.uid;
    }
    let adj = found.and_then(|found| found.oom_score_adj);
    if let Some(adj) = has(valid::mark::FIELDS).then_some(mark.oom_score_adj).or(adj) {
        task.oom_score_adj = adj;
        *known |= valid::victim::ADJ;
    }
    if let Some(id) = cgroup_id {
        task.cgroup_id = id;
        *known |= valid::victim::CGROUP;
    }
    if let Some(vpid) = found.and_then(|found| found.vpid) {
        event.vpid = vpid;
        *known |= valid::victim::VPID;
    }
    memory(&mut event, mark, found, page_size);
    Some(event)
}

/// Sizes at the mark if the record has them, else those that /proc had a little later.
fn memory(event: &mut VictimEvent, mark: &MarkEvent, found: Option<&ProcTask>, page_size: u64) {
    let later = found.and_then(|found| found.memory);
    let at_mark = (mark.header.valid & valid::mark::FIELDS != 0).then_some(ProcMemory {
        total_vm: mark.total_vm_kib,
        anon: mark.anon_kib,
        file: mark.file_kib,
        shmem: mark.shmem_kib,
        swap: later.map_or(0, |memory| memory.swap),
        pgtables: mark.pgtables_kib,
    });
    let Some(memory) = at_mark.or(later) else {
        return;
    };
    let page_kib = (page_size / 1024).max(1);
    let pages = |kib: u64| i64::try_from(kib / page_kib).unwrap_or(i64::MAX);
    event.total_vm = memory.total_vm / page_kib;
    event.pgtables_bytes = memory.pgtables.saturating_mul(1024);
    let parts = [
        (mm::FILE, memory.file),
        (mm::ANON, memory.anon),
        (mm::SWAP, memory.swap),
        (mm::SHMEM, memory.shmem),
    ];
    for (index, kib) in parts {
        if let Some(count) = event.counts.get_mut(index) {
            *count = pages(kib);
        }
    }
    event.header.valid |= valid::victim::MM;
    if later.is_none() {
        event.header.valid |= valid::victim::NO_SWAP;
    }
}

#[cfg(test)]
mod tests;
