//! The request to the helper process, and its response.

use std::{fs::File, os::fd::AsRawFd as _};

use serde::{Deserialize, Serialize};

use super::{
    KnownFile, is_same,
    mapped::{Located, Mapped},
};
use crate::model::names::{FileOffset, Name};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) offsets: Vec<FileOffset>,
    pub(super) addresses: Vec<Address>,
    pub(super) files: Vec<Candidate>,
    /// Paths by which the helper can open them.
    pub(super) perf_maps: Vec<String>,
}

/// An address that the kernel did not report as an offset in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) ip: u64,
    /// Index of its file and the offset in it. `None` in memory without a file.
    pub(super) in_file: Option<(usize, u64)>,
    /// Index of an executable that is loaded at a fixed address, and may contain this one.
    #[serde(default)]
    pub(super) fixed: Option<usize>,
}

/// A file that may belong to one of the offsets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// Path by which the helper can open it.
    pub(super) path: String,
    /// Path by which its process has mapped it.
    pub(super) shown: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) offsets: Vec<Option<Name>>,
    pub(super) addresses: Vec<Option<Name>>,
    /// The build ids of the files, in their order.
    pub(super) build_ids: Vec<Option<String>>,
}

impl Request {
    /// Asks for addresses of a process, given its mapped files and the perf maps kept of it.
    pub(super) fn for_addresses(mapped: &Mapped, kept_maps: &[File], ips: &[u64]) -> Self {
        let now = &mapped.perf_maps;
        let before = kept_maps.iter().filter(|file| !now.iter().any(|other| is_same(file, other)));
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

    /// Adds the files that may be needed. Those that the process has mapped come first, because
    /// the indexes of its addresses count them.
    pub(super) fn add_files(&mut self, files: &[KnownFile<'_>]) {
        self.files = files.iter().map(|known| candidate(known.file, known.shown)).collect();
    }

    /// Nothing in it could get a name.
    pub(super) const fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.addresses.is_empty()
    }
}

/// A file that this process has open, as the helper can open it.
fn candidate(file: &File, shown: &str) -> Candidate {
    Candidate { path: own_path(file), shown: shown.to_owned() }
}

fn own_path(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
