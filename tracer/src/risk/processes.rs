//! Reads the processes of a cgroup and of those below it from /proc, with the inputs of
//! `oom_badness`. Processes that exit during the reading are left out.

use std::{fs, path::Path};

use crate::{
    compose::badness::{CountedPages, whole_pages},
    host::files::Root,
};

/// A process with the inputs of `oom_badness`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    /// The task's name; untrusted.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// `None` for kernel threads and for processes that have released their memory.
    pub memory: Option<Memory>,
    /// The path of its cgroup, relative to the requested directory.
    pub cgroup: String,
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// RssAnon, RssFile and RssShmem.
    pub rss_bytes: u64,
    /// VmSwap of /proc/PID/status.
    pub swap_bytes: u64,
    /// VmPTE of /proc/PID/status.
    pub pgtables_bytes: u64,
}

impl Memory {
    pub(super) fn counted(self) -> Option<CountedPages> {
        let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let pages = |bytes| whole_pages(bytes, page_size);
        Some(CountedPages {
            rss: pages(self.rss_bytes)?,
            swap: pages(self.swap_bytes)?,
            pgtables: pages(self.pgtables_bytes)?,
        })
    }
}

/// Swap of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swap {
    /// SwapTotal of /proc/meminfo.
    pub total_bytes: u64,
    /// SwapFree of /proc/meminfo.
    pub free_bytes: u64,
    /// vm.swappiness. With 0 the kernel does not count swap into `totalpages`.
    pub swappiness: u64,
}

pub(crate) fn swap(root: &Root) -> Swap {
    let meminfo = fs::read_to_string(root.path("/proc/meminfo")).unwrap_or_default();
    let swappiness = fs::read_to_string(root.path("/proc/sys/vm/swappiness")).unwrap_or_default();
    Swap {
        total_bytes: kib(&meminfo, "SwapTotal").unwrap_or_default(),
        free_bytes: kib(&meminfo, "SwapFree").unwrap_or_default(),
        // The kernel's default.
        swappiness: swappiness.trim().parse().unwrap_or(60),
    }
}

/// The processes of a cgroup and of all cgroups below it, in the order of the kernel's walk: a
/// cgroup before its children.
pub(crate) fn below(root: &Root, directory: &Path) -> Vec<Process> {
    let mut processes = Vec::new();
    walk(root, directory, "", &mut processes);
    processes
}

fn walk(root: &Root, directory: &Path, path: &str, processes: &mut Vec<Process>) {
    let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let found = pids.lines().filter_map(|pid| process(root, pid.parse().ok()?));
    processes.extend(found.map(|process| Process { cgroup: path.to_owned(), ..process }));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let child = format!("{path}/{}", entry.file_name().to_string_lossy());
            walk(root, &entry.path(), &child, processes);
        }
    }
}

fn process(root: &Root, pid: i32) -> Option<Process> {
    let status = status(root, &format!("/proc/{pid}/status"))?;
    let adj = fs::read_to_string(root.path(&format!("/proc/{pid}/oom_score_adj"))).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    Some(Process {
        pid,
        comm: comm(root, pid)?,
        uid: uid.split_whitespace().next()?.parse().ok()?,
        oom_score_adj: adj.trim().parse().ok()?,
        memory: memory(&status).or_else(|| memory_of_a_thread(root, pid)),
        cgroup: String::new(),
    })
}

/// The unescaped name. /proc/PID/status escapes it.
fn comm(root: &Root, pid: i32) -> Option<String> {
    let bytes = fs::read(root.path(&format!("/proc/{pid}/comm"))).ok()?;
    Some(String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned())
}

fn status(root: &Root, path: &str) -> Option<String> {
    let bytes = fs::read(root.path(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// If the thread group leader has exited, another thread still has the memory
/// (`find_lock_task_mm`).
fn memory_of_a_thread(root: &Root, pid: i32) -> Option<Memory> {
    let threads = fs::read_dir(root.path(&format!("/proc/{pid}/task"))).ok()?;
    threads.flatten().find_map(|thread| {
        let tid = thread.file_name().to_string_lossy().into_owned();
        memory(&status(root, &format!("/proc/{pid}/task/{tid}/status"))?)
    })
}

fn memory(status: &str) -> Option<Memory> {
    Some(Memory {
        rss_bytes: kib(status, "RssAnon")? + kib(status, "RssFile")? + kib(status, "RssShmem")?,
        swap_bytes: kib(status, "VmSwap").unwrap_or_default(),
        pgtables_bytes: kib(status, "VmPTE")?,
    })
}

/// The bytes in a line like `Key:    1234 kB`.
fn kib(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}
