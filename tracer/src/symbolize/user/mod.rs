//! Names for frames in user space, by blazesym over the symbol tables of ELF files, and from the perf
//! maps of just-in-time compilers.
//!
//! A frame is a place in a file, by build id and offset, so it can be named when the process is gone,
//! here or elsewhere (`oomwhy symbolize`). What may be gone is the file: those that a process maps are
//! opened as soon as it is known that it is going to die, and stay open for the next time.
//!
//! As with the kernel's symbols, a short-lived child with a limit of its own does the work: a symbol
//! table can be of any size, and the file is whatever the victim made it.

mod child;
mod elf_files;
mod left;
mod mapped;
mod perf_map;
mod question;
mod root;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};

use self::{
    mapped::Mapped,
    question::{Address, Answer, Candidate, Request},
};
use crate::{
    host::procfs::process,
    model::names::{FileOffset, Name, UserNames},
    symbolize::helper_process,
};

pub(crate) use self::{
    child::{answer, name_places},
    elf_files::{DEBUG_DIRECTORY, ElfFiles},
    left::Left,
    root::Root,
};

/// The hidden command by which the child is started.
pub(crate) const CHILD_COMMAND: &str = "user-symbols";
/// Files kept open: the executables and libraries of a few services.
const MAX_OPEN: usize = 64;
/// Processes whose files are kept open, until they are named.
const MAX_PROCESSES: usize = 4;
/// Known places; bounded, stacks at a limit are much alike.
const MAX_KNOWN: usize = 4096;

/// A process: its id alone may be another's meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id, as /proc has it.
    pub pid: u32,
    /// Its start, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
}

/// Where code of a process may be found when the process is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Path of its executable, in its own mount namespace.
    pub exe: String,
    /// Its root directory, opened while it was there.
    pub root: Option<Root>,
    /// A process that may live in the same one: its parent.
    pub neighbor: Option<u32>,
    /// By whom its perf map is written.
    pub writer: Option<Writer>,
}

/// The process as the one that writes a perf map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    /// Its user, as the host numbers them.
    pub uid: u32,
    /// Its process id in its own pid namespace: the file has it in its name.
    pub pid: u32,
}

/// A file that is kept open.
#[derive(Debug)]
struct Kept {
    build_id: String,
    shown: String,
    file: File,
}

/// Names frames of processes that live, or lived a moment ago.
#[derive(Debug, Default)]
pub(crate) struct UserSymbols {
    known: BTreeMap<FileOffset, Name>,
    open: VecDeque<Kept>,
    processes: VecDeque<(Process, Mapped)>,
    /// Opened before anything was asked: as their process names them.
    early: VecDeque<(String, File)>,
    /// Kept likewise.
    left: Vec<Arc<Left>>,
}

impl Process {
    /// The one that has this id now; one that is gone is none that can be read.
    pub(crate) fn now(pid: u32) -> Self {
        Self { pid, started_ns: process::started_ns_of(pid).unwrap_or_default() }
    }
}

impl UserSymbols {
    /// Opens what a process has mapped: its frames will be asked for when it is gone.
    pub(crate) fn open(&mut self, process: Process) {
        let Some(mapped) = Mapped::open(process.pid) else { return };
        // Asked last: the id may be used again at any moment.
        if !process::is_same(process.pid, process.started_ns) {
            return;
        }
        self.processes.retain(|(known, _)| *known != process);
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.pop_front();
        }
        self.processes.push_back((process, mapped));
    }

    /// The names of `places` and of the addresses `ips` of a process. What cannot be named is left
    /// out. Takes tens of milliseconds when something is new.
    pub(crate) fn resolve(
        &mut self,
        process: Process,
        hint: Option<&Hint>,
        places: &[FileOffset],
        ips: &[u64],
    ) -> UserNames {
        let new: Vec<FileOffset> =
            places.iter().filter(|place| !self.known.contains_key(place)).cloned().collect();
        let mut addresses = Vec::new();
        if !new.is_empty() || !ips.is_empty() {
            self.open(process);
            addresses = self.learn(process, hint, new, ips);
        }
        let known = |place: &FileOffset| Some((place.clone(), self.known.get(place)?.clone()));
        UserNames { places: places.iter().filter_map(known).collect(), addresses }
    }

    /// Without a child (no memory for one) the frames stay places, and can be named later.
    fn learn(
        &mut self,
        process: Process,
        hint: Option<&Hint>,
        places: Vec<FileOffset>,
        ips: &[u64],
    ) -> Vec<(u64, Name)> {
        if self.known.len() + places.len() > MAX_KNOWN {
            self.known.clear();
        }
        let gone;
        let known = self.processes.iter().find(|(known, _)| *known == process);
        let mapped = if let Some((_, mapped)) = known {
            mapped
        } else {
            gone = hint.map(|hint| Mapped::left(process, hint)).unwrap_or_default();
            &gone
        };
        let left = self.left.iter().find(|left| left.process == process);
        let left: Vec<File> = left.into_iter().flat_map(|left| left.perf_maps()).collect();
        let early = Vec::from(std::mem::take(&mut self.early));
        let mut request = Request::about(mapped, &left, ips);
        request.add_files(mapped, &early, &self.open);
        request.places = places;
        if request.is_empty() {
            self.early = early.into();
            return Vec::new();
        }
        let Ok(answer) = helper_process::ask::<Answer>(CHILD_COMMAND, &request) else {
            self.early = early.into();
            return Vec::new();
        };
        let new = mapped.files.iter().chain(&early).zip(answer.build_ids);
        let new: Vec<Kept> = new
            .filter_map(|((shown, file), build_id)| {
                let file = file.try_clone().ok()?;
                Some(Kept { build_id: build_id?, shown: shown.clone(), file })
            })
            .collect();
        for file in new {
            self.keep(file);
        }
        let named = request.places.into_iter().zip(answer.places);
        self.known.extend(named.filter_map(|(place, name)| Some((place, name?))));
        let named = request.addresses.into_iter().zip(answer.addresses);
        named.filter_map(|(address, name)| Some((address.ip, name?))).collect()
    }

    /// Keeps files that were opened while their process was there ([`files_of`]), for places that are
    /// asked for next.
    pub(crate) fn keep_files(&mut self, files: impl IntoIterator<Item = (String, File)>) {
        for (shown, file) in files {
            let kept = self.open.iter().map(|kept| &kept.file);
            let mut there = kept.chain(self.early.iter().map(|(_, file)| file));
            if there.any(|other| is_same(other, &file)) {
                continue;
            }
            if self.early.len() >= MAX_OPEN {
                self.early.pop_front();
            }
            self.early.push_back((shown, file));
        }
    }

    /// Keeps ways to perf maps likewise, instead of those that were kept before.
    pub(crate) fn keep_left(&mut self, left: Vec<Arc<Left>>) {
        self.left = left;
    }

    /// The process of which something was kept, by its id; else the one that has it now.
    pub(crate) fn process(&self, pid: u32) -> Process {
        let mut kept = self.left.iter().map(|left| left.process);
        kept.find(|process| process.pid == pid).unwrap_or_else(|| Process::now(pid))
    }

    fn keep(&mut self, file: Kept) {
        if self.open.iter().any(|kept| kept.build_id == file.build_id) {
            return;
        }
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(file);
    }
}

/// The files that a process has mapped, as it names them. None once it is gone.
pub(crate) fn files_of(pid: u32) -> Vec<(String, File)> {
    Mapped::open(pid).unwrap_or_default().files
}

/// Whether both are the same file.
pub(crate) fn is_same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|it| (it.dev(), it.ino())).ok();
    number(one).is_some_and(|one| number(other) == Some(one))
}

#[cfg(test)]
mod tests;
