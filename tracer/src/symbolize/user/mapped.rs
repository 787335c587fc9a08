//! The executable mappings of a running process, from /proc/PID: which address belongs to which
//! file, the files themselves, and the perf maps that just-in-time compilers wrote about the rest.

use std::{collections::BTreeSet, ops::Range};

use super::{
    PerfMapSources, PerfMapWriter, Process, ProcessHint, ProcessRoot, perf_map_sources::writer,
};
use crate::{
    host::{clock, opener::OpenedFile, procfs::process},
    model::names::{MAX_PATH_BYTES, cut},
};

/// More files with code than most processes have.
const MAX_FILES: usize = 48;
/// Executable mappings that are kept.
const MAX_RANGES: usize = 1024;
/// Times of files are as coarse as the timer interrupt: up to 10 ms.
const TIMER_NS: i128 = 10_000_000;

/// The code of a process.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// The mapped files, each with the path by which the process has mapped it.
    pub(super) files: Vec<(String, OpenedFile)>,
    /// /tmp/perf-PID.map below the process' root, then those of the processes it was forked from.
    pub(super) perf_maps: Vec<OpenedFile>,
    /// Index in `files` of the executable, which may be loaded at a fixed address. Only set if the
    /// mappings are not known.
    pub(super) executable: Option<usize>,
    ranges: Vec<Mapping>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<u64>,
    /// Offset in the file where the mapping begins, bytes.
    offset: u64,
    /// Path of the file. Empty for memory without one.
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// In a file: its index in [`Mapped::files`], and the offset, bytes.
    File(usize, u64),
    /// In memory without a file: code that was generated at run time, or mappings are not known.
    Elsewhere,
}

impl Mapped {
    /// `None` if the process has released its memory or may not be read.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let ranges = executable_mappings(&process::maps(pid)?);
        if ranges.is_empty() {
            return None;
        }
        let paths: BTreeSet<&str> = ranges.iter().map(|mapping| mapping.path.as_str()).collect();
        let named_paths = paths.into_iter().filter(|path| !path.is_empty()).take(MAX_FILES);
        let uid = process::status(pid).as_deref().and_then(writer).map(|writer| writer.uid);
        let files = ProcessRoot::now(pid).map(|root| root.open_mapped(uid, named_paths));
        let has_made_code = ranges.iter().any(|mapping| mapping.path.is_empty());
        let sources = has_made_code.then(|| PerfMapSources::of(pid)).flatten();
        let perf_maps = sources.iter().flat_map(PerfMapSources::perf_maps).collect();
        Some(Self { files: files.unwrap_or_default(), perf_maps, executable: None, ranges })
    }

    /// The files that can be found for a process that has released its memory: its executable by
    /// its path, libraries that its parent has mapped too, and its perf map. The build id of a
    /// frame then shows which file it belongs to.
    pub(super) fn after_exit(process: Process, hint: &ProcessHint) -> Self {
        let ProcessHint { exe, root, neighbor, perf_map_writer } = hint;
        let uid = perf_map_writer.map(|writer| writer.uid);
        let open_in = |root: &ProcessRoot| root.open_mapped(uid, [exe.as_str()]);
        let mut files = root.as_ref().map(open_in).unwrap_or_default();
        let executable = (!files.is_empty()).then_some(0);
        files.extend(neighbor.and_then(ProcessRoot::now).iter().flat_map(open_in));
        let here = ProcessRoot::of_host().and_then(|root| root.open_executable(exe, uid));
        files.extend(here.map(|file| (exe.clone(), file)));
        files.extend(neighbor.and_then(Self::open).unwrap_or_default().files);
        let perf_maps = perf_map(process, hint).into_iter().collect();
        Self { files, perf_maps, executable, ranges: Vec::new() }
    }

    /// The mapping that an address is in. `None` if there is no code.
    pub(super) fn locate(&self, address: u64) -> Option<Located> {
        let found = self.ranges.iter().find(|mapping| mapping.range.contains(&address));
        let Some(mapping) = found else {
            // The code may have been generated after the list was read.
            let may_be = self.ranges.is_empty() || !self.perf_maps.is_empty();
            return may_be.then_some(Located::Elsewhere);
        };
        if mapping.path.is_empty() {
            return Some(Located::Elsewhere);
        }
        let index = self.files.iter().position(|(path, _)| *path == mapping.path)?;
        Some(Located::File(index, address - mapping.range.start + mapping.offset))
    }
}

/// The perf map of a process, which may be gone. Its user must have written it after the process
/// started. Outside of the process' own root, it counts only if its process id is the same there.
pub(super) fn perf_map(process: Process, hint: &ProcessHint) -> Option<OpenedFile> {
    let PerfMapWriter { uid, pid } = hint.perf_map_writer?;
    let path = format!("/tmp/perf-{pid}.map");
    let open_in = |root: ProcessRoot| root.open_written(&path, uid);
    let elsewhere = || {
        let near = hint.neighbor.and_then(ProcessRoot::now).and_then(open_in);
        near.or_else(|| ProcessRoot::of_host().and_then(open_in)).filter(|_| pid == process.pid)
    };
    let file = hint.root.clone().and_then(open_in).or_else(elsewhere)?;
    let started = i128::from(process.started_ns) + i128::from(clock::realtime_offset_ns());
    let is_new = i128::from(file.facts.modified_ns) + TIMER_NS >= started;
    (process.started_ns > 0 && is_new).then_some(file)
}

fn executable_mappings(maps: &str) -> Vec<Mapping> {
    maps.lines().filter_map(mapping).take(MAX_RANGES).collect()
}

/// `start-end perms offset device inode    path`
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let offset = number(words.next()?)?;
    let path = words.nth(2)?.trim_start();
    // A removed file cannot be opened by its path any more. `//anon` and `[heap]` are memory
    // without a file. `[vdso]` and the like are pages of the kernel, not code of the process.
    let is_file = path.starts_with('/') && !path.ends_with(" (deleted)");
    let is_memory = path.is_empty() || path.starts_with("[anon") || path == "[heap]";
    (permissions.as_bytes().get(2) == Some(&b'x') && (is_file || is_memory)).then(|| Mapping {
        range: number(start).unwrap_or_default()..number(end).unwrap_or_default(),
        offset,
        path: if is_file { cut(path, MAX_PATH_BYTES).to_owned() } else { String::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        55d0c0000000-55d0c0002000 r--p 00000000 fe:00 1234    /usr/bin/app\n\
        55d0c0002000-55d0c0006000 r-xp 00002000 fe:00 1234    /usr/bin/app\n\
        7f0000000000-7f0000001000 r-xp 00000000 fe:00 99      /lib/with a blank.so\n\
        7f0000001000-7f0000002000 r-xp 00000000 fe:00 98      /tmp/gone (deleted)\n\
        7f0000002000-7f0000003000 rwxp 00000000 00:00 0 \n\
        7fff00000000-7fff00001000 r-xp 00000000 00:00 0       [vdso]\n\
        broken\n";

    #[test]
    fn executable_mappings_are_listed_with_their_files() {
        let found: Vec<String> =
            executable_mappings(MAPS).into_iter().map(|mapping| mapping.path).collect();
        assert_eq!(found, ["/usr/bin/app", "/lib/with a blank.so", ""]);
    }

    #[test]
    fn locate_address_gives_file_or_memory_or_none() {
        let own = Mapped::open(std::process::id()).unwrap().files.remove(0).1;
        let files = vec![("/usr/bin/app".to_owned(), own)];
        let mapped = Mapped { files, ranges: executable_mappings(MAPS), ..Mapped::default() };
        assert_eq!(mapped.locate(0x55d0_c000_2010), Some(Located::File(0, 0x2010)));
        assert_eq!(mapped.locate(0x7f00_0000_2000), Some(Located::Elsewhere));
        // In turn: its file could not be opened, it is not executable, it is not mapped.
        for address in [0x7f00_0000_0000, 0x55d0_c000_0000, 0x7f00_0000_3000] {
            assert_eq!(mapped.locate(address), None, "{address:#x}");
        }
    }

    #[test]
    fn open_without_a_process_gives_none() {
        assert!(Mapped::open(u32::MAX).is_none());
        assert!(Mapped::open(std::process::id()).is_some_and(|mapped| !mapped.files.is_empty()));
    }
}
