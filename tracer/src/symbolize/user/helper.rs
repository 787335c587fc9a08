//! The helper process: gives names to offsets in files and to addresses.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::Path,
};

use blazesym::symbolize::{Input, Symbolized, Symbolizer, source};

use rustix::thread::CapabilitySet;

use super::{
    Address, Candidate, ElfFiles, Request, Response, perf_map,
    received_file::{self, ReceivedFile},
};
use crate::{
    model::names::{FileOffset, Name},
    symbolize::{demangle::demangled, helper_process},
};

/// Reads a request and responds to it.
pub(crate) fn answer(input: impl io::Read + AsFd, output: impl io::Write) -> io::Result<()> {
    helper_process::serve(input, output, CapabilitySet::empty(), look_up)
}

/// The response to a request as JSON.
pub(crate) fn answer_with(request: &[u8], files: Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&look_up(&serde_json::from_slice(request)?, files))?)
}

pub(super) fn look_up(request: &Request, descriptors: Vec<OwnedFd>) -> Response {
    let received = received_file::receive(descriptors, &request.perf_maps);
    let mut files = ElfFiles::default();
    let add = |candidate: &Candidate| {
        let file = received.get(candidate.descriptor?)?;
        files.add(&file.path, &candidate.shown)
    };
    let build_ids = request.files.iter().map(add).collect();
    let offsets = name_offsets(&files, &request.offsets);
    Response { offsets, addresses: name_addresses(request, &received), build_ids }
}

/// Whether the kernel loads it at the address in its headers: `ET_EXEC` of elf(5).
pub(super) fn is_fixed(file: &File) -> bool {
    const LITTLE_ENDIAN: u8 = 1;
    let mut start = [0; 18];
    file.read_exact_at(&mut start, 0).is_ok()
        && start.starts_with(b"\x7fELF")
        && start[5] == LITTLE_ENDIAN
        && start[16..] == [2, 0]
}

/// A name for each offset whose file is known: at least the name of the file.
pub(super) fn name_offsets(files: &ElfFiles, offsets: &[FileOffset]) -> Vec<Option<Name>> {
    let symbolizer = symbolizer();
    offsets.iter().map(|offset| name_offset(&symbolizer, files, offset)).collect()
}

/// Names offsets in files. It parses each file once.
#[derive(Debug)]
pub(crate) struct OffsetNamer {
    files: ElfFiles,
    symbolizer: Symbolizer,
}

impl OffsetNamer {
    pub(crate) fn new(files: ElfFiles) -> Self {
        Self { files, symbolizer: symbolizer() }
    }

    /// The name of an offset whose file is known: at least the name of the file.
    pub(crate) fn name(&self, offset: &FileOffset) -> Option<Name> {
        name_offset(&self.symbolizer, &self.files, offset)
    }
}

/// Names only: lines and inlined functions would need the file's DWARF, sometimes hundreds of MiB.
fn symbolizer() -> Symbolizer {
    Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build()
}

fn name_offset(symbolizer: &Symbolizer, files: &ElfFiles, wanted: &FileOffset) -> Option<Name> {
    let file = files.get(&wanted.build_id)?;
    let mut name =
        Name { file: Some(file.shown.clone()).filter(|it| !it.is_empty()), ..Name::default() };
    for path in &file.paths {
        let offset = Input::FileOffset(wanted.file_offset);
        if let Some((symbol, offset)) = name_in(symbolizer, path.as_ref(), offset) {
            (name.symbol, name.offset) = (Some(symbol), offset);
            break;
        }
    }
    Some(name)
}

/// The function at a position in a file, and the bytes from its start.
fn name_in(
    symbolizer: &Symbolizer,
    path: &Path,
    position: Input<u64>,
) -> Option<(String, Option<u64>)> {
    let elf = source::Elf { debug_syms: false, ..source::Elf::new(path) };
    let symbolized = symbolizer.symbolize_single(&source::Source::Elf(elf), position);
    let symbol = symbolized.ok().and_then(Symbolized::into_sym)?;
    Some((demangled(&symbol.name), u64::try_from(symbol.offset).ok()))
}

/// Names from the files that the process had mapped and from perf maps.
fn name_addresses(request: &Request, received: &[ReceivedFile]) -> Vec<Option<Name>> {
    let ips: Vec<u64> = request.addresses.iter().map(|address| address.ip).collect();
    let perf_maps = request.perf_maps.iter().filter_map(|index| received.get(*index));
    let in_perf_maps = perf_map::names(perf_maps.map(|map| &map.file), &ips);
    let namer = Namer { symbolizer: symbolizer(), request, received };
    let addresses = request.addresses.iter().zip(in_perf_maps);
    addresses.map(|(address, name)| namer.name(address, name)).collect()
}

struct Namer<'a> {
    symbolizer: Symbolizer,
    request: &'a Request,
    received: &'a [ReceivedFile],
}

impl Namer<'_> {
    fn name(&self, address: &Address, in_perf_map: Option<Name>) -> Option<Name> {
        let Some((index, offset)) = address.in_file else {
            return in_perf_map.or_else(|| self.name_fixed(address));
        };
        let Candidate { descriptor, shown } = self.request.files.get(index)?;
        let file = descriptor.and_then(|index| self.received.get(index));
        let found =
            file.and_then(|file| name_in(&self.symbolizer, &file.path, Input::FileOffset(offset)));
        let (symbol, from_start) =
            found.map_or((None, None), |(symbol, from)| (Some(symbol), from));
        Some(Name { symbol, offset: from_start, file: Some(shown.clone()) })
    }

    /// In an executable at a fixed address: where one of its functions is, nothing else can be.
    fn name_fixed(&self, address: &Address) -> Option<Name> {
        let Candidate { descriptor, shown } = self.request.files.get(address.executable?)?;
        let file = self.received.get((*descriptor)?).filter(|it| is_fixed(&it.file))?;
        let position = Input::VirtOffset(address.ip);
        let (symbol, offset) = name_in(&self.symbolizer, &file.path, position)?;
        Some(Name { symbol: Some(symbol), offset, file: Some(shown.clone()) })
    }
}
