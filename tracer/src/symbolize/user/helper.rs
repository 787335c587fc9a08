//! The helper process: gives names to offsets in files and to addresses.

use std::io;

use blazesym::symbolize::{Input, Symbolized, Symbolizer, source};

use crate::{
    model::names::{FileOffset, Name},
    symbolize::helper_process,
};

use super::{Address, Candidate, ElfFiles, Request, Response, perf_map};

/// Reads a request and responds to it.
pub(crate) fn answer(input: impl io::Read, output: impl io::Write) -> io::Result<()> {
    helper_process::serve(input, output, look_up)
}

pub(super) fn look_up(request: &Request) -> Response {
    let mut files = ElfFiles::default();
    let add = |Candidate { path, shown }: &Candidate| files.add(path.as_ref(), shown);
    let build_ids = request.files.iter().map(add).collect();
    let offsets = name_offsets(&files, &request.offsets);
    Response { offsets, addresses: name_addresses(request), build_ids }
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
    path: &std::path::Path,
    position: Input<u64>,
) -> Option<(String, Option<u64>)> {
    let elf = source::Elf { debug_syms: false, ..source::Elf::new(path) };
    let symbolized = symbolizer.symbolize_single(&source::Source::Elf(elf), position);
    let symbol = symbolized.ok().and_then(Symbolized::into_sym)?;
    Some((symbol.name.into_owned(), u64::try_from(symbol.offset).ok()))
}

/// Names from the files that the process had mapped and from perf maps.
fn name_addresses(request: &Request) -> Vec<Option<Name>> {
    let symbolizer = symbolizer();
    let ips: Vec<u64> = request.addresses.iter().map(|address| address.ip).collect();
    let in_perf_maps = perf_map::names(&request.perf_maps, &ips);
    let addresses = request.addresses.iter().zip(in_perf_maps);
    addresses.map(|(address, name)| name_address(&symbolizer, request, address, name)).collect()
}

fn name_address(
    symbolizer: &Symbolizer,
    request: &Request,
    address: &Address,
    in_perf_map: Option<Name>,
) -> Option<Name> {
    let Some((index, offset)) = address.in_file else {
        return in_perf_map.or_else(|| name_fixed(symbolizer, request, address));
    };
    let Candidate { path, shown } = request.files.get(index)?;
    let found = name_in(symbolizer, path.as_ref(), Input::FileOffset(offset));
    let (symbol, from_start) = found.map_or((None, None), |(symbol, from)| (Some(symbol), from));
    Some(Name { symbol, offset: from_start, file: Some(shown.clone()) })
}

/// In an executable at a fixed address: where one of its functions is, nothing else can be.
fn name_fixed(symbolizer: &Symbolizer, request: &Request, address: &Address) -> Option<Name> {
    let Candidate { path, shown } = request.files.get(address.fixed?)?;
    let (symbol, offset) = name_in(symbolizer, path.as_ref(), Input::VirtOffset(address.ip))?;
    Some(Name { symbol: Some(symbol), offset, file: Some(shown.clone()) })
}
