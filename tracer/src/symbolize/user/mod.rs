//! Names for frames in user space, from the symbol tables of ELF files, read by blazesym, and from
//! the perf maps of just-in-time compilers.
//!
//! A frame is an offset in a file with a build id. So it can get its name when the process is gone,
//! on this host or on another (`oomwhy symbolize`). But the file may be gone too. So the files that
//! a process has mapped are opened as soon as it is known to be a victim, and they stay open for
//! the next report.
//!
//! As for the kernel's symbols, a helper process does the work: a symbol table can have any size,
//! and the victim may have prepared the file.

mod elf_files;
mod failed_files;
mod helper;
mod mapped;
mod perf_map;
mod perf_map_sources;
mod received_file;
mod request;
mod root;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use self::{
    failed_files::FailedFiles,
    mapped::Mapped,
    request::{Address, Candidate, Request, RequestWithFiles, Response},
};
use crate::{
    host::{
        opener::{FileId, OpenedFile},
        procfs::process,
    },
    model::names::{FileOffset, Name, UserNames},
};

pub(crate) use self::{
    elf_files::{DEBUG_DIRECTORY, ElfFiles},
    helper::{OffsetNamer, answer, answer_with},
    perf_map_sources::PerfMapSources,
    root::ProcessRoot,
};

/// The hidden command of the helper process.
pub(crate) const HELPER_COMMAND: &str = "user-symbols";
/// Files kept open: the executables and libraries of a few services.
const MAX_OPEN: usize = 64;
/// Processes whose files are kept open until their frames are named.
const MAX_PROCESSES: usize = 4;
/// Named offsets that are kept. Stacks at a limit are much alike.
const MAX_KNOWN: usize = 4096;

/// A process. Its id alone may belong to another one meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    /// When it started, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
}

/// Where the code of a process may be found when the process is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessHint {
    /// Path of its executable, in its own mount namespace.
    pub exe: String,
    /// Its root directory, opened while it ran.
    pub root: Option<ProcessRoot>,
    /// A process that may have the same mount namespace: its parent.
    pub neighbor: Option<u32>,
    pub perf_map_writer: Option<PerfMapWriter>,
}

/// Identifies the perf map that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerfMapWriter {
    /// Owner of the file, as the host numbers users.
    pub uid: u32,
    /// Process id in its own pid namespace, which is part of the file's name.
    pub pid: u32,
}

/// A file that is kept open.
#[derive(Debug)]
struct OpenFile {
    build_id: String,
    /// Path by which a process has mapped it.
    shown: String,
    file: OpenedFile,
}

/// Names frames of processes that run, or ran a moment ago.
#[derive(Debug, Default)]
pub(crate) struct UserSymbols {
    known: BTreeMap<FileOffset, Name>,
    open: VecDeque<OpenFile>,
    processes: VecDeque<(Process, Mapped)>,
    /// Opened before anything was asked, with the path by which a process has mapped each.
    early: VecDeque<(String, OpenedFile)>,
    perf_maps: Vec<Arc<PerfMapSources>>,
    failed: FailedFiles,
}

impl Process {
    /// The process that has this id now. If there is none, the result matches no process.
    pub(crate) fn now(pid: u32) -> Self {
        Self { pid, started_ns: process::started_ns_of(pid).unwrap_or_default() }
    }
}

impl UserSymbols {
    /// Opens the files that a process has mapped, because its frames will be asked for when it is
    /// gone.
    pub(crate) fn open(&mut self, process: Process) {
        let Some(mapped) = Mapped::open(process.pid) else { return };
        // Checked last: the id may be reused at any moment.
        if !process::is_same(process.pid, process.started_ns) {
            return;
        }
        self.processes.retain(|(known, _)| *known != process);
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.pop_front();
        }
        self.processes.push_back((process, mapped));
    }

    /// The names of `offsets`, and of the addresses `ips` of a process. Those without a name are
    /// left out. This takes tens of milliseconds if something is new.
    pub(crate) fn resolve(
        &mut self,
        process: Process,
        hint: Option<&ProcessHint>,
        offsets: &[FileOffset],
        ips: &[u64],
    ) -> UserNames {
        let new: Vec<FileOffset> =
            offsets.iter().filter(|offset| !self.known.contains_key(offset)).cloned().collect();
        let mut addresses = Vec::new();
        if !new.is_empty() || !ips.is_empty() {
            self.open(process);
            addresses = self.ask(process, hint, new, ips);
        }
        let named = |offset: &FileOffset| Some((offset.clone(), self.known.get(offset)?.clone()));
        UserNames { offsets: offsets.iter().filter_map(named).collect(), addresses }
    }

    /// Without a helper (no memory for one), frames stay offsets, and can get a name later.
    fn ask(
        &mut self,
        process: Process,
        hint: Option<&ProcessHint>,
        offsets: Vec<FileOffset>,
        ips: &[u64],
    ) -> Vec<(u64, Name)> {
        if self.known.len() + offsets.len() > MAX_KNOWN {
            self.known.clear();
        }
        let after_exit;
        let known = self.processes.iter().find(|(known, _)| *known == process);
        let mapped = if let Some((_, mapped)) = known {
            mapped
        } else {
            after_exit = hint.map(|hint| Mapped::after_exit(process, hint)).unwrap_or_default();
            &after_exit
        };
        let sources = self.perf_maps.iter().find(|sources| sources.process == process);
        let perf_maps: Vec<OpenedFile> =
            sources.into_iter().flat_map(|it| it.perf_maps()).collect();
        let early = Vec::from(std::mem::take(&mut self.early));
        let mut asked = RequestWithFiles::for_addresses(mapped, &perf_maps, ips, &self.failed);
        asked.add_files(mapped, &early, &self.open);
        asked.request.offsets = offsets;
        let response = asked.send();
        let request = asked.request;
        let Some(Ok(response)) = response else {
            if response.is_some_and(|it| it.is_err_and(|it| failed_files::is_fault_of_files(&it))) {
                let new = mapped.files.iter().chain(&early).map(|(_, file)| file);
                let all = new.chain(&mapped.perf_maps).chain(&perf_maps);
                self.failed.extend(suspects(all, &self.open, &request));
            }
            self.early = early.into();
            return Vec::new();
        };
        let asked = mapped.files.iter().chain(&early).zip(response.build_ids);
        let identified = asked.filter_map(|((shown, file), build_id)| {
            let own_file = file.try_clone()?;
            Some(OpenFile { build_id: build_id?, shown: shown.clone(), file: own_file })
        });
        for file in identified.collect::<Vec<_>>() {
            self.keep(file);
        }
        let named = request.offsets.into_iter().zip(response.offsets);
        self.known.extend(named.filter_map(|(offset, name)| Some((offset, name?))));
        let addresses = request.addresses.into_iter().zip(response.addresses);
        addresses.filter_map(|(address, name)| Some((address.ip, name?))).collect()
    }

    /// Keeps files that were opened while their process ran ([`files_of`]), for the next request.
    pub(crate) fn keep_files(&mut self, files: impl IntoIterator<Item = (String, OpenedFile)>) {
        for (shown, file) in files {
            let open = self.open.iter().map(|open| &open.file);
            let mut kept = open.chain(self.early.iter().map(|(_, file)| file));
            if kept.any(|other| other.is_same_file(&file)) {
                continue;
            }
            if self.early.len() >= MAX_OPEN {
                self.early.pop_front();
            }
            self.early.push_back((shown, file));
        }
    }

    /// Keeps the perf maps of processes, instead of those that were kept before.
    pub(crate) fn keep_perf_maps(&mut self, perf_maps: Vec<Arc<PerfMapSources>>) {
        self.perf_maps = perf_maps;
    }

    /// The process with this id whose perf maps are kept, else the one that has the id now.
    pub(crate) fn process(&self, pid: u32) -> Process {
        let mut kept = self.perf_maps.iter().map(|sources| sources.process);
        kept.find(|process| process.pid == pid).unwrap_or_else(|| Process::now(pid))
    }

    fn keep(&mut self, file: OpenFile) {
        if self.open.iter().any(|open| open.build_id == file.build_id) {
            return;
        }
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(file);
    }
}

/// The files that may have made a helper fail: those that no helper has read before, and those that
/// have one of the offsets.
fn suspects<'a>(
    asked: impl Iterator<Item = &'a OpenedFile>,
    open: &'a VecDeque<OpenFile>,
    request: &Request,
) -> Vec<FileId> {
    let is_new = |file: &&OpenedFile| !open.iter().any(|open| open.file.is_same_file(file));
    let known = open.iter().filter(|open| request.asks_for(&open.build_id));
    let files = asked.filter(is_new).chain(known.map(|open| &open.file));
    files.map(|file| file.facts.id).collect()
}

/// The files that a process has mapped, with the path of each. Empty once it is gone.
pub(crate) fn files_of(pid: u32) -> Vec<(String, OpenedFile)> {
    Mapped::open(pid).unwrap_or_default().files
}

#[cfg(test)]
mod tests;
