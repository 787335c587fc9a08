//! Names for frames in user space, from the symbol tables of ELF files, read by blazesym, and from
//! the perf maps of just-in-time compilers.
//!
//! A frame is an offset in a file with a build id. So it can get its name when the process is gone,
//! on this host or on another (`oomwhy symbolize`). But the file may be gone too. So when a process
//! is known to be a victim, the files that it has mapped are opened at once. They stay open for the
//! next report, for a minute at most.
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

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use self::{
    failed_files::FailedFiles,
    mapped::Mapped,
    request::{Address, Ask, Candidate, Request, RequestWithFiles, Response},
};
use crate::{
    host::{
        kept_open::KeptOpen,
        opener::{FileFacts, FileId, OpenedFile},
        procfs::process,
    },
    model::{
        lru::Lru,
        names::{FileOffset, Name, UserNames},
    },
    symbolize::helper_process,
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
/// Bytes of these names: some hundred each.
const MAX_KNOWN_BYTES: usize = 2 << 20;
/// Files whose build id is known.
const MAX_BUILD_IDS: usize = 1024;
/// Processes whose perf maps are kept.
const MAX_PERF_MAPS: usize = 16;

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

/// A file, with the path by which a process has mapped it.
type NamedFile = (String, OpenedFile);

/// Names frames of processes that run, or ran a moment ago.
#[derive(Debug)]
pub(crate) struct UserSymbols {
    /// Names by file and offset in it.
    known: Lru<(FileId, u64), Name>,
    /// `None` for a file of which a helper found no build id.
    build_ids: Lru<FileId, Option<String>>,
    open: KeptOpen<FileId, NamedFile>,
    /// The files of processes, by process id and start time.
    processes: KeptOpen<(u32, u64), Mapped>,
    /// By process id.
    perf_maps: KeptOpen<u32, Arc<PerfMapSources>>,
    failed: FailedFiles,
    ask: Ask,
}

impl Default for UserSymbols {
    fn default() -> Self {
        Self {
            known: Lru::new(MAX_KNOWN, MAX_KNOWN_BYTES),
            build_ids: Lru::new(MAX_BUILD_IDS, 512 << 10),
            open: KeptOpen::new(MAX_OPEN),
            processes: KeptOpen::new(MAX_PROCESSES),
            perf_maps: KeptOpen::new(MAX_PERF_MAPS),
            failed: FailedFiles::default(),
            ask: |request, files| helper_process::ask(HELPER_COMMAND, request, files),
        }
    }
}

impl Process {
    /// The process that has this id now. If there is none, the result matches no process.
    pub(crate) fn now(pid: u32) -> Self {
        Self { pid, started_ns: process::started_ns_of(pid).unwrap_or_default() }
    }

    const fn key(self) -> (u32, u64) {
        (self.pid, self.started_ns)
    }
}

/// Which files of other processes a process may have mapped, too. Their authors chose the build
/// ids.
#[derive(Clone, Copy, Debug)]
struct Near {
    /// The device of its root directory: another container cannot put a file there.
    device: Option<u64>,
    /// Its user. Another user of the host can put files on the same device.
    uid: Option<u32>,
}

impl Near {
    fn has(self, file: &OpenedFile) -> bool {
        let FileFacts { id, owner, .. } = file.facts;
        self.device == Some(id.device) && (owner == 0 || self.uid == Some(owner))
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
        self.processes.insert(process.key(), mapped);
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
        if offsets.is_empty() && ips.is_empty() {
            return UserNames::default();
        }
        self.open(process);
        let near = Near {
            device: self.root_device(process, hint),
            uid: hint.and_then(|hint| hint.perf_map_writer).map(|writer| writer.uid),
        };
        // Taken out while it is used, and kept again afterwards.
        let own = self.processes.remove(&process.key());
        let after_exit = || hint.map(|hint| Mapped::after_exit(process, hint)).unwrap_or_default();
        let is_own = own.is_some();
        let mapped = own.unwrap_or_else(after_exit);
        let names = self.names(process, near, &mapped, offsets, ips);
        let own_files = mapped.files.iter();
        self.keep_files(own_files.filter_map(|(shown, it)| Some((shown.clone(), it.try_clone()?))));
        if is_own {
            self.processes.insert(process.key(), mapped);
        }
        names
    }

    fn names(
        &mut self,
        process: Process,
        near: Near,
        mapped: &Mapped,
        offsets: &[FileOffset],
        ips: &[u64],
    ) -> UserNames {
        let open = std::mem::replace(&mut self.open, KeptOpen::new(MAX_OPEN));
        let own: BTreeSet<FileId> = mapped.files.iter().map(|(_, file)| file.facts.id).collect();
        let is_kept = |file: &&NamedFile| near.has(&file.1) && !own.contains(&file.1.facts.id);
        let kept = open.iter().map(|(_, file)| file).filter(is_kept);
        let files: Vec<&NamedFile> = mapped.files.iter().chain(kept).collect();
        let new: Vec<FileOffset> =
            offsets.iter().filter(|offset| self.may_get_a_name(&files, offset)).cloned().collect();
        let addresses = self.ask(process, mapped, &files, new, ips);
        let named = |offset: &FileOffset| Some((offset.clone(), self.known_name(&files, offset)?));
        let offsets = offsets.iter().filter_map(named).collect();
        drop(files);
        self.open = open;
        UserNames { offsets, addresses }
    }

    /// The name of an offset in the first of these files that has its build id.
    fn known_name(&self, files: &[&NamedFile], offset: &FileOffset) -> Option<Name> {
        let has_its_build_id = |id: &FileId| {
            let build_id = self.build_ids.get(id).and_then(Option::as_ref);
            build_id.is_some_and(|build_id| *build_id == offset.build_id)
        };
        let id = files.iter().map(|(_, file)| file.facts.id).find(has_its_build_id)?;
        self.known.get(&(id, offset.file_offset)).cloned()
    }

    /// Whether an offset has no name so far, and one of the files may give it one.
    fn may_get_a_name(&self, files: &[&NamedFile], offset: &FileOffset) -> bool {
        let may_have_its_build_id = |(_, file): &&NamedFile| {
            let build_id = self.build_ids.get(&file.facts.id);
            build_id.is_none_or(|build_id| build_id.as_ref() == Some(&offset.build_id))
        };
        self.known_name(files, offset).is_none() && files.iter().any(may_have_its_build_id)
    }

    /// The device of a process' root directory.
    fn root_device(&self, process: Process, hint: Option<&ProcessHint>) -> Option<u64> {
        let kept = hint.and_then(|hint| hint.root.clone());
        let root = kept.or_else(|| ProcessRoot::of(process));
        root.and_then(|root| root.device()).or_else(|| self.sources(process)?.device)
    }

    fn sources(&self, process: Process) -> Option<&Arc<PerfMapSources>> {
        self.perf_maps.get(&process.pid).filter(|sources| sources.process == process)
    }

    /// Without a helper (no memory for one), frames stay offsets, and can get a name later.
    fn ask(
        &mut self,
        process: Process,
        mapped: &Mapped,
        files: &[&NamedFile],
        offsets: Vec<FileOffset>,
        ips: &[u64],
    ) -> Vec<(u64, Name)> {
        let sources = self.sources(process);
        let perf_maps: Vec<OpenedFile> =
            sources.into_iter().flat_map(|it| it.perf_maps()).collect();
        let mut asked = RequestWithFiles::for_addresses(mapped, &perf_maps, ips, &self.failed);
        asked.add_files(files);
        asked.request.offsets = offsets;
        let response = asked.send(self.ask);
        let request = asked.request;
        let response = match response {
            None => return Vec::new(),
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                if failed_files::is_fault_of_files(&error) {
                    let of_offsets = files.iter().map(|(_, file)| file);
                    let all = of_offsets.chain(&mapped.perf_maps).chain(&perf_maps);
                    self.failed.extend(suspects(all, &self.build_ids, &request));
                }
                return Vec::new();
            }
        };
        self.learn(files, &request, &response);
        let addresses = request.addresses.into_iter().zip(response.addresses);
        addresses.filter_map(|(address, name)| Some((address.ip, name?))).collect()
    }

    /// Keeps the build ids and the names that a helper has read in these files.
    fn learn(&mut self, files: &[&NamedFile], request: &Request, response: &Response) {
        let answered = files.iter().zip(&request.files).zip(&response.build_ids);
        // A file that was not sent has no answer.
        let read = answered.filter(|((_, candidate), _)| candidate.descriptor.is_some());
        let read: Vec<(FileId, &Option<String>)> =
            read.map(|(((_, file), _), build_id)| (file.facts.id, build_id)).collect();
        for (id, build_id) in &read {
            self.build_ids.insert(*id, (*build_id).clone());
        }
        let id_of = |offset: &FileOffset| {
            let its = read.iter().find(|(_, it)| it.as_ref() == Some(&offset.build_id));
            its.map(|(id, _)| *id)
        };
        for (offset, name) in request.offsets.iter().zip(&response.offsets) {
            if let (Some(id), Some(name)) = (id_of(offset), name) {
                self.known.insert((id, offset.file_offset), name.clone());
            }
        }
    }

    /// Keeps files that were opened while their process ran ([`files_of`]), for the next request.
    pub(crate) fn keep_files(&mut self, files: impl IntoIterator<Item = NamedFile>) {
        for (shown, file) in files {
            self.open.insert(file.facts.id, (shown, file));
        }
    }

    /// Keeps the perf maps of processes, instead of those that were kept before.
    pub(crate) fn keep_perf_maps(&mut self, perf_maps: Vec<Arc<PerfMapSources>>) {
        self.perf_maps = KeptOpen::new(MAX_PERF_MAPS);
        for sources in perf_maps {
            self.perf_maps.insert(sources.process.pid, sources);
        }
    }

    /// The process with this id whose perf maps are kept, else the one that has the id now.
    pub(crate) fn process(&self, pid: u32) -> Process {
        let kept = self.perf_maps.get(&pid).map(|sources| sources.process);
        kept.unwrap_or_else(|| Process::now(pid))
    }

    /// When [`UserSymbols::close_unused`] has something to close.
    pub(crate) fn next_close(&self) -> Option<Instant> {
        let next =
            [self.open.next_close(), self.processes.next_close(), self.perf_maps.next_close()];
        next.into_iter().flatten().min()
    }

    /// Number of names and files that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        let Self { known, build_ids, open, processes, .. } = self;
        known.n_evicted() + build_ids.n_evicted() + open.n_evicted() + processes.n_evicted()
    }

    /// Closes files that were not used for a while.
    pub(crate) fn close_unused(&mut self, now: Instant) {
        self.open.close_unused(now);
        self.processes.close_unused(now);
        self.perf_maps.close_unused(now);
    }
}

/// The files that may have made a helper fail: those that no helper has read before, and those that
/// have one of the offsets.
fn suspects<'a>(
    asked: impl Iterator<Item = &'a OpenedFile>,
    build_ids: &Lru<FileId, Option<String>>,
    request: &Request,
) -> Vec<FileId> {
    let is_suspect = |id: &FileId| match build_ids.get(id) {
        None => true,
        Some(build_id) => build_id.as_ref().is_some_and(|it| request.asks_for(it)),
    };
    asked.map(|file| file.facts.id).filter(is_suspect).collect()
}

/// The files that a process has mapped, with the path of each. Empty once it is gone.
pub(crate) fn files_of(pid: u32) -> Vec<(String, OpenedFile)> {
    Mapped::open(pid).unwrap_or_default().files
}

#[cfg(test)]
mod tests;
