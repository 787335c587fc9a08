//! The executable mappings of a running process, from /proc/PID: which address belongs to which
//! file, the files themselves, and the perf maps that just-in-time compilers wrote about the rest.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

use super::{PerfMapSources, PerfMapWriter, Process, ProcessHint, ProcessRoot};
use crate::{
    host::clock,
    model::names::{MAX_PATH_BYTES, cut},
};

/// More files with code than most processes have.
const MAX_FILES: usize = 48;
/// Executable mappings that are kept.
const MAX_RANGES: usize = 1024;
/// Times of files are as coarse as the timer interrupt: up to 10 ms.
const TIMER_NS: i128 = 10_000_000;
/// Bytes of the list of mappings that are read.
const MAX_BYTES: u64 = 4 << 20;

/// The code of a process.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// The mapped files, each with the path by which the process has mapped it.
    pub(super) files: Vec<(String, File)>,
    /// /tmp/perf-PID.map below the process' root, then those of the processes it was forked from.
    pub(super) perf_maps: Vec<File>,
    /// Index in `files` of an executable that is loaded at a fixed address. Only set if the
    /// mappings are not known.
    pub(super) fixed: Option<usize>,
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
        let mut maps = Vec::new();
        let list = File::open(format!("/proc/{pid}/maps")).ok()?;
        list.take(MAX_BYTES).read_to_end(&mut maps).ok()?;
        let ranges = executable_mappings(&String::from_utf8_lossy(&maps));
        if ranges.is_empty() {
            return None;
        }
        let paths: BTreeSet<&str> = ranges.iter().map(|mapping| mapping.path.as_str()).collect();
        let named_paths = paths.into_iter().filter(|path| !path.is_empty()).take(MAX_FILES);
        let open = |path: &str| Some((path.to_owned(), open_below(pid, path)?));
        let files = named_paths.filter_map(open).collect();
        let has_made_code = ranges.iter().any(|mapping| mapping.path.is_empty());
        let perf_maps = if has_made_code { perf_maps(pid) } else { Vec::new() };
        Some(Self { files, perf_maps, fixed: None, ranges })
    }

    /// The files that can be found for a process that has released its memory: its executable by
    /// its path, libraries that its parent has mapped too, and its perf map. The build id of a
    /// frame then shows which file it belongs to.
    pub(super) fn after_exit(process: Process, hint: &ProcessHint) -> Self {
        let ProcessHint { exe, root, neighbor, .. } = hint;
        let own = root.as_ref().and_then(|root| root.open(exe));
        let fixed = own.as_ref().is_some_and(is_fixed).then_some(0);
        let near = neighbor.and_then(|pid| open_below(pid, exe));
        let here = open_regular(exe.as_ref());
        let executables = own.into_iter().chain(near).chain(here);
        let mut files: Vec<(String, File)> = executables.map(|it| (exe.clone(), it)).collect();
        files.extend(neighbor.and_then(Self::open).unwrap_or_default().files);
        let perf_maps = perf_map_after_exit(process, hint).into_iter().collect();
        Self { files, perf_maps, fixed, ranges: Vec::new() }
    }

    /// Where an address is. `None` if there is no code.
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

/// Opens a file below a process' root, which may be in another mount namespace.
pub(super) fn open_below(pid: u32, path: &str) -> Option<File> {
    ProcessRoot::now(pid)?.open(path)
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

/// Opens a regular file in this process' mount namespace.
pub(super) fn open_regular(path: &Path) -> Option<File> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    // It may have been replaced by a pipe meanwhile.
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let file = File::options().read(true).custom_flags(nonblock).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

fn perf_maps(pid: u32) -> Vec<File> {
    let mut maps: Vec<File> = perf_map(pid).into_iter().collect();
    if let Some(sources) = PerfMapSources::of(pid) {
        maps.extend(sources.ancestor_perf_maps());
    }
    maps
}

/// The name has the process id in the process' own pid namespace.
fn perf_map(pid: u32) -> Option<File> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let own: u32 = ids.split_whitespace().next_back()?.parse().ok()?;
    open_below(pid, &format!("/tmp/perf-{own}.map"))
}

/// The perf map of a process that may be gone. Its user must have written it after the process
/// started. Outside of the process' own root, it counts only if its process id is the same there.
pub(super) fn perf_map_after_exit(process: Process, hint: &ProcessHint) -> Option<File> {
    let PerfMapWriter { uid, pid } = hint.perf_map_writer?;
    let path = format!("/tmp/perf-{pid}.map");
    let elsewhere = || {
        let near = hint.neighbor.and_then(|pid| open_below(pid, &path));
        near.or_else(|| open_regular(path.as_ref())).filter(|_| pid == process.pid)
    };
    let own = hint.root.as_ref().and_then(|root| root.open(&path));
    let file = own.or_else(elsewhere)?;
    let meta = file.metadata().ok()?;
    let started = i128::from(process.started_ns) + i128::from(clock::realtime_offset_ns());
    let written = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    (meta.uid() == uid && process.started_ns > 0 && written + TIMER_NS >= started).then_some(file)
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
        let null = || File::open("/dev/null").unwrap();
        let files = vec![("/usr/bin/app".to_owned(), null())];
        let mapped = Mapped { files, ranges: executable_mappings(MAPS), ..Mapped::default() };
        assert_eq!(mapped.locate(0x55d0_c000_2010), Some(Located::File(0, 0x2010)));
        assert_eq!(mapped.locate(0x7f00_0000_2000), Some(Located::Elsewhere));
        // In turn: its file could not be opened, it is not executable, it is not mapped.
        for address in [0x7f00_0000_0000, 0x55d0_c000_0000, 0x7f00_0000_3000] {
            assert_eq!(mapped.locate(address), None, "{address:#x}");
        }
    }

    #[test]
    fn open_without_process_or_regular_file_gives_none() {
        assert!(Mapped::open(u32::MAX).is_none());
        assert!(Mapped::open(std::process::id()).is_some_and(|mapped| !mapped.files.is_empty()));
        assert!(open_regular("/dev/null".as_ref()).is_none());
    }
}
