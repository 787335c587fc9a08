//! The child: places and addresses on stdin, names on stdout, both JSON.

use std::io;

use blazesym::{
    Pid,
    symbolize::{Input, Symbolized, Symbolizer, source},
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Answer, Candidate, ElfFiles, Name, Place, Request};

/// Seconds of CPU that the child may take.
const CHILD_SECONDS: u64 = 10;
/// Memory that it may take. Symbol tables of the largest browsers are a quarter of that.
const CHILD_BYTES: u64 = 1 << 30;

/// Reads a request and answers it.
pub fn answer(input: impl io::Read, mut output: impl io::Write) -> io::Result<()> {
    for (resource, bound) in [(Resource::Cpu, CHILD_SECONDS), (Resource::As, CHILD_BYTES)] {
        // A bound on damage, not a condition.
        let _ = setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) });
    }
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
    let ips = match request.pid {
        Some(pid) if !request.ips.is_empty() => name_addresses(pid, &request.ips),
        _ => vec![None; request.ips.len()],
    };
    Answer { places, ips, build_ids }
}

/// A name for each place whose file is known: at least the file's.
pub fn name_places(files: &ElfFiles, places: &[Place]) -> Vec<Option<Name>> {
    let symbolizer = symbolizer();
    places.iter().map(|place| name_place(&symbolizer, files, place)).collect()
}

/// Names only: lines and inlined functions would take the file's DWARF, hundreds of MiB at times.
fn symbolizer() -> Symbolizer {
    Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build()
}

fn name_place(symbolizer: &Symbolizer, files: &ElfFiles, place: &Place) -> Option<Name> {
    let file = files.get(&place.build_id)?;
    let mut name =
        Name { file: Some(file.shown.clone()).filter(|it| !it.is_empty()), ..Name::default() };
    for path in &file.paths {
        let elf = source::Elf { debug_syms: false, ..source::Elf::new(path) };
        let input = Input::FileOffset(place.file_offset);
        let symbolized = symbolizer.symbolize_single(&source::Source::Elf(elf), input);
        if let Some(symbol) = symbolized.ok().and_then(Symbolized::into_sym) {
            name.symbol = Some(symbol.name.into_owned());
            name.offset = u64::try_from(symbol.offset).ok();
            break;
        }
    }
    Some(name)
}

/// Addresses outside of files: what a just-in-time compiler wrote into its perf map.
fn name_addresses(pid: u32, ips: &[u64]) -> Vec<Option<Name>> {
    let process = source::Process {
        debug_syms: false,
        // Those need CAP_SYS_ADMIN.
        map_files: false,
        ..source::Process::new(Pid::from(pid))
    };
    let source = source::Source::Process(process);
    let symbolizer = symbolizer();
    let Ok(symbolized) = symbolizer.symbolize(&source, Input::AbsAddr(ips)) else {
        return vec![None; ips.len()];
    };
    symbolized.into_iter().map(name).collect()
}

fn name(symbolized: Symbolized<'_>) -> Option<Name> {
    let symbol = symbolized.into_sym()?;
    Some(Name {
        symbol: Some(symbol.name.into_owned()),
        offset: u64::try_from(symbol.offset).ok(),
        file: symbol.module.map(|module| module.to_string_lossy().into_owned()),
    })
}
