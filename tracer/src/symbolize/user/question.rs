//! What is asked of the child, and what it answers.

use crate::model::names::{FileOffset, Name};
use std::{collections::VecDeque, fs::File, os::fd::AsRawFd as _};

use serde::{Deserialize, Serialize};

use super::{
    Kept, is_same,
    mapped::{Located, Mapped},
};

/// What is asked of the child.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) places: Vec<FileOffset>,
    pub(super) addresses: Vec<Address>,
    pub(super) files: Vec<Candidate>,
    /// How to open them.
    pub(super) perf_maps: Vec<String>,
}

/// An address, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) ip: u64,
    /// Index of its file, and the offset in it; `None` in memory without a file.
    pub(super) in_file: Option<(usize, u64)>,
    /// Index of an executable whose code is where its symbols say, and may be this.
    #[serde(default)]
    pub(super) fixed: Option<usize>,
}

/// A file that may be the one of a place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// How to open it.
    pub(super) path: String,
    /// As its process names it.
    pub(super) shown: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) places: Vec<Option<Name>>,
    pub(super) addresses: Vec<Option<Name>>,
    /// Build ids of the files, in their order.
    pub(super) build_ids: Vec<Option<String>>,
}

impl Request {
    /// About addresses of a process, by what it has mapped, and by perf maps that were kept of it.
    pub(super) fn about(mapped: &Mapped, left: &[File], ips: &[u64]) -> Self {
        let now = &mapped.perf_maps;
        let before = left.iter().filter(|file| !now.iter().any(|other| is_same(file, other)));
        let perf_maps: Vec<String> = now.iter().chain(before).map(own_path).collect();
        let address = |&ip: &u64| {
            let in_file = match mapped.locate(ip)? {
                Located::File(index, offset) => Some((index, offset)),
                Located::Elsewhere => None,
            };
            let address = Address { ip, in_file, fixed: mapped.fixed };
            (in_file.is_some() || address.fixed.is_some() || !perf_maps.is_empty())
                .then_some(address)
        };
        let addresses = ips.iter().filter_map(address).collect();
        Self { addresses, perf_maps, ..Self::default() }
    }

    /// What the process has mapped comes first.
    pub(super) fn add_files(
        &mut self,
        mapped: &Mapped,
        early: &[(String, File)],
        open: &VecDeque<Kept>,
    ) {
        let kept = open.iter().map(|kept| candidate(&kept.file, &kept.shown));
        let files = mapped.files.iter().chain(early);
        let files = files.map(|(shown, file)| candidate(file, shown));
        self.files = files.chain(kept).collect();
    }

    /// Nothing that could be named.
    pub(super) const fn is_empty(&self) -> bool {
        self.places.is_empty() && self.addresses.is_empty()
    }
}

/// A file of ours, as the child can open it.
fn candidate(file: &File, shown: &str) -> Candidate {
    Candidate { path: own_path(file), shown: shown.to_owned() }
}

fn own_path(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
