//! Names for frames in user space, by blazesym over the symbol tables of ELF files and the perf maps
//! of just-in-time compilers.
//!
//! A frame is a place in a file, by build id and offset, so it can be named when the process is gone,
//! here or elsewhere (`oomwhy symbolize`). What may be gone is the file: those that a process maps are
//! opened as soon as its frames are known, and stay open for the next time.
//!
//! As with the kernel's symbols, a short-lived child with a limit of its own does the work: a symbol
//! table can be of any size, and the file is whatever the victim made it.

mod child;
mod elf_files;
mod mapped;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use serde::{Deserialize, Serialize};

use crate::own_child;

pub use self::{
    child::{answer, name_places},
    elf_files::{DEBUG_DIRECTORY, ElfFiles},
};

/// The hidden command by which the child is started.
pub const CHILD_COMMAND: &str = "user-symbols";
/// Files kept open: the executables and libraries of a few services.
const MAX_OPEN: usize = 64;
/// Known places; bounded, stacks at a limit are much alike.
const MAX_KNOWN: usize = 4096;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// GNU build id, hex.
    pub build_id: String,
    /// Offset in the file, bytes.
    pub file_offset: u64,
}

/// What a place or an address is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Function, demangled; `None` where the file is stripped.
    pub symbol: Option<String>,
    /// Bytes from its start.
    pub offset: Option<u64>,
    /// The file, as its process names it.
    pub file: Option<String>,
}

/// What is asked of the child.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Request {
    places: Vec<Place>,
    /// Addresses in the process `pid`, outside of files.
    ips: Vec<u64>,
    pid: Option<u32>,
    files: Vec<Candidate>,
}

/// A file that may be the one of a place.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Candidate {
    /// How to open it.
    path: String,
    /// As its process names it.
    shown: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    places: Vec<Option<Name>>,
    ips: Vec<Option<Name>>,
    /// Build ids of the files, in their order.
    build_ids: Vec<Option<String>>,
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
pub struct UserSymbols {
    known: BTreeMap<Place, Name>,
    open: VecDeque<Kept>,
    /// Opened before anything was asked: as their process names them.
    early: VecDeque<(String, File)>,
}

impl UserSymbols {
    /// The names of `places` and of the addresses `ips` of process `pid`. What cannot be named is
    /// left out. Takes tens of milliseconds when something is new.
    pub fn resolve(
        &mut self,
        pid: u32,
        places: &[Place],
        ips: &[u64],
    ) -> (BTreeMap<Place, Name>, BTreeMap<u64, Name>) {
        let new: Vec<Place> =
            places.iter().filter(|place| !self.known.contains_key(place)).cloned().collect();
        let mut of_ips = BTreeMap::new();
        if !new.is_empty() || !ips.is_empty() {
            of_ips = self.learn(pid, new, ips);
        }
        let known = |place: &Place| Some((place.clone(), self.known.get(place)?.clone()));
        (places.iter().filter_map(known).collect(), of_ips)
    }

    /// Without a child (no memory for one) the frames stay places, and can be named later.
    fn learn(&mut self, pid: u32, places: Vec<Place>, ips: &[u64]) -> BTreeMap<u64, Name> {
        if self.known.len() + places.len() > MAX_KNOWN {
            self.known.clear();
        }
        let mut mapped = mapped::files(pid);
        mapped.extend(self.early.drain(..));
        let kept = self.open.iter().map(|kept| candidate(&kept.file, &kept.shown));
        let files = mapped.iter().map(|(shown, file)| candidate(file, shown)).chain(kept).collect();
        let request = Request { places, ips: ips.to_vec(), pid: Some(pid), files };
        let Ok(answer) = own_child::ask::<Answer>(CHILD_COMMAND, &request) else {
            return BTreeMap::new();
        };
        let named = request.places.into_iter().zip(answer.places);
        self.known.extend(named.filter_map(|(place, name)| Some((place, name?))));
        for ((shown, file), build_id) in mapped.into_iter().zip(answer.build_ids) {
            self.keep(build_id, shown, file);
        }
        ips.iter().copied().zip(answer.ips).filter_map(|(ip, name)| Some((ip, name?))).collect()
    }

    /// Opens the files of a process while it is there, for places that are asked for later.
    pub fn open_files(&mut self, pid: u32) {
        for (shown, file) in mapped::files(pid) {
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

    fn keep(&mut self, build_id: Option<String>, shown: String, file: File) {
        let Some(build_id) = build_id else { return };
        if self.open.iter().any(|kept| kept.build_id == build_id) {
            return;
        }
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Kept { build_id, shown, file });
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|it| (it.dev(), it.ino())).ok();
    number(one).is_some_and(|one| number(other) == Some(one))
}

/// A file of ours, as the child can open it.
fn candidate(file: &File, shown: &str) -> Candidate {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Candidate { path, shown: shown.to_owned() }
}

#[cfg(test)]
mod tests;
