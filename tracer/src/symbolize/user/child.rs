//! The child: places and addresses on stdin, names on stdout, both JSON.

use std::{fs, io};

use blazesym::symbolize::{Input, Symbolized, Symbolizer, source};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    model::names::{FileOffset, Name},
    symbolize::helper_process,
};

use super::{Address, Answer, Candidate, ElfFiles, Request, perf_map};

/// Seconds of CPU that the child may take.
const CHILD_SECONDS: u64 = 10;
/// Addresses that it may use: files are mapped to be read.
const CHILD_ADDRESSES: u64 = 4 << 30;
/// Memory of its own that it may take, bytes. Symbol tables of the largest browsers are half of it.
const CHILD_BYTES: u64 = 192 << 20;

/// Reads a request and answers it.
pub(crate) fn answer(input: impl io::Read, mut output: impl io::Write) -> io::Result<()> {
    helper_process::take_name();
    for (resource, bound) in [
        (Resource::Cpu, CHILD_SECONDS),
        (Resource::As, CHILD_ADDRESSES),
        (Resource::Data, CHILD_BYTES),
    ] {
        // A bound on damage, not a condition.
        let _ = setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) });
    }
    // Memory may be short when this runs: it is weighed by its size, as all others are. What started
    // it is spared, and to choose this one before what grew would be a kill that frees nothing.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    let request: Request = serde_json::from_reader(input)?;
    serde_json::to_writer(&mut output, &look_up(&request))?;
    output.flush()
}

pub(super) fn look_up(request: &Request) -> Answer {
    let mut files = ElfFiles::default();
    let build_ids =
        request.files.iter().map(|Candidate { path, shown }| files.add(path.as_ref(), shown));
    let build_ids = build_ids.collect();
    let places = name_places(&files, &request.places);
    Answer { places, addresses: name_addresses(request), build_ids }
}

/// A name for each place whose file is known: at least the file's.
pub(crate) fn name_places(files: &ElfFiles, places: &[FileOffset]) -> Vec<Option<Name>> {
    let symbolizer = symbolizer();
    places.iter().map(|place| name_place(&symbolizer, files, place)).collect()
}

/// Names only: lines and inlined functions would take the file's DWARF, hundreds of MiB at times.
fn symbolizer() -> Symbolizer {
    Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build()
}

fn name_place(symbolizer: &Symbolizer, files: &ElfFiles, place: &FileOffset) -> Option<Name> {
    let file = files.get(&place.build_id)?;
    let mut name =
        Name { file: Some(file.shown.clone()).filter(|it| !it.is_empty()), ..Name::default() };
    for path in &file.paths {
        let offset = Input::FileOffset(place.file_offset);
        if let Some((symbol, offset)) = name_in(symbolizer, path.as_ref(), offset) {
            (name.symbol, name.offset) = (Some(symbol), offset);
            break;
        }
    }
    Some(name)
}

/// The function at a place of a file, and the bytes from its start.
fn name_in(
    symbolizer: &Symbolizer,
    path: &std::path::Path,
    place: Input<u64>,
) -> Option<(String, Option<u64>)> {
    let elf = source::Elf { debug_syms: false, ..source::Elf::new(path) };
    let symbolized = symbolizer.symbolize_single(&source::Source::Elf(elf), place);
    let symbol = symbolized.ok().and_then(Symbolized::into_sym)?;
    Some((symbol.name.into_owned(), u64::try_from(symbol.offset).ok()))
}

/// Addresses that the kernel could not tell as a place: by what its process had mapped.
fn name_addresses(request: &Request) -> Vec<Option<Name>> {
    let symbolizer = symbolizer();
    let made: Vec<u64> = request.addresses.iter().map(|address| address.ip).collect();
    let mut made = perf_map::names(&request.perf_maps, &made);
    let names = request.addresses.iter().zip(&mut made);
    names.map(|(address, made)| name_address(&symbolizer, request, address, made.take())).collect()
}

fn name_address(
    symbolizer: &Symbolizer,
    request: &Request,
    address: &Address,
    made: Option<Name>,
) -> Option<Name> {
    let Some((index, offset)) = address.in_file else {
        return made.or_else(|| name_fixed(symbolizer, request, address));
    };
    let Candidate { path, shown } = request.files.get(index)?;
    let found = name_in(symbolizer, path.as_ref(), Input::FileOffset(offset));
    let (symbol, from_start) = found.map_or((None, None), |(symbol, from)| (Some(symbol), from));
    Some(Name { symbol, offset: from_start, file: Some(shown.clone()) })
}

/// Where one of its functions is, nothing else can be.
fn name_fixed(symbolizer: &Symbolizer, request: &Request, address: &Address) -> Option<Name> {
    let Candidate { path, shown } = request.files.get(address.fixed?)?;
    let (symbol, offset) = name_in(symbolizer, path.as_ref(), Input::VirtOffset(address.ip))?;
    Some(Name { symbol: Some(symbol), offset, file: Some(shown.clone()) })
}
