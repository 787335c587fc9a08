//! The request to the helper process, and its response. The files that it is about go with it as
//! descriptors.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use serde::{Deserialize, Serialize};

use super::{
    HELPER_COMMAND, OpenFile,
    failed_files::FailedFiles,
    mapped::{Located, Mapped},
};
use crate::{
    host::{descriptors::MAX_DESCRIPTORS, opener::OpenedFile},
    model::names::{FileOffset, Name},
    symbolize::helper_process,
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) offsets: Vec<FileOffset>,
    pub(super) addresses: Vec<Address>,
    pub(super) files: Vec<Candidate>,
    /// Indexes of descriptors.
    pub(super) perf_maps: Vec<usize>,
}

/// An address that the kernel did not report as an offset in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) ip: u64,
    /// Index of its file and the offset in it. `None` in memory without a file.
    pub(super) in_file: Option<(usize, u64)>,
    /// Index of the executable, which may contain this address if it is always loaded at the same
    /// one.
    #[serde(default)]
    pub(super) executable: Option<usize>,
}

/// A file that may belong to one of the offsets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// Index of its descriptor. `None`: the file made an earlier helper fail, or too many are
    /// asked for.
    pub(super) descriptor: Option<usize>,
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

/// A request together with its files.
#[derive(Debug)]
pub(super) struct RequestWithFiles<'a> {
    pub(super) request: Request,
    files: Vec<&'a OpenedFile>,
    failed: &'a FailedFiles,
}

impl<'a> RequestWithFiles<'a> {
    /// Asks for addresses of a process, given its mapped files and the perf maps kept of it.
    pub(super) fn for_addresses(
        mapped: &'a Mapped,
        kept_maps: &'a [OpenedFile],
        ips: &[u64],
        failed: &'a FailedFiles,
    ) -> Self {
        let mut asked = Self { request: Request::default(), files: Vec::new(), failed };
        let now = &mapped.perf_maps;
        let before = kept_maps.iter().filter(|it| !now.iter().any(|other| it.is_same_file(other)));
        let perf_maps = now.iter().chain(before).filter_map(|file| asked.add(file)).collect();
        let address = |&ip: &u64| {
            let in_file = match mapped.locate(ip)? {
                Located::File(index, offset) => Some((index, offset)),
                Located::Elsewhere => None,
            };
            let address = Address { ip, in_file, executable: mapped.executable };
            let may_have_name =
                in_file.is_some() || address.executable.is_some() || !Vec::is_empty(&perf_maps);
            may_have_name.then_some(address)
        };
        let addresses = ips.iter().filter_map(address).collect();
        asked.request = Request { addresses, perf_maps, ..Request::default() };
        asked
    }

    /// Adds the files that may be needed. Those that the process has mapped come first, because
    /// the indexes of its addresses count them.
    pub(super) fn add_files(
        &mut self,
        mapped: &'a Mapped,
        early: &'a [(String, OpenedFile)],
        open: &'a VecDeque<OpenFile>,
    ) {
        let new = mapped.files.iter().chain(early).map(|(shown, file)| (shown, file));
        let known = open.iter().map(|open| (&open.shown, &open.file));
        for (shown, file) in new.chain(known) {
            let descriptor = self.add(file);
            self.request.files.push(Candidate { descriptor, shown: shown.clone() });
        }
    }

    fn add(&mut self, file: &'a OpenedFile) -> Option<usize> {
        let index = self.files.len();
        if index >= MAX_DESCRIPTORS || self.failed.contains(file.facts.id) {
            return None;
        }
        self.files.push(file);
        Some(index)
    }

    /// Asks a helper process, unless nothing could get a name.
    pub(super) fn send(&self) -> Option<io::Result<Response>> {
        let ask = || helper_process::ask(HELPER_COMMAND, &self.request, &self.descriptors());
        (!self.request.is_empty()).then(ask)
    }

    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.files.iter().map(|opened| opened.file.as_fd()).collect()
    }
}

impl Request {
    /// Whether one of the offsets is in the file with this build id.
    pub(super) fn asks_for(&self, build_id: &str) -> bool {
        self.offsets.iter().any(|offset| offset.build_id == build_id)
    }

    /// Nothing in it could get a name.
    pub(super) const fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.addresses.is_empty()
    }
}
