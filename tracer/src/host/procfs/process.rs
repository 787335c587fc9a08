//! Reads the values from /proc/PID that the probes did not read. A process may be gone, so each
//! value is optional.

use std::{fs, path::Path};

use super::file;
use crate::{
    host::opener::Directory,
    model::{
        facts::ProcessFiles,
        names::{MAX_PATH_BYTES, cut},
    },
};

/// A longer command line is not read. The probes keep less of it.
const MAX_CMDLINE_BYTES: u64 = 1 << 16;
/// Bytes of a list of mappings that are read.
const MAX_MAPS_BYTES: u64 = 4 << 20;
/// Larger pages are multiples of it.
const MIN_PAGE_BYTES: u64 = 4096;
/// ns in a clock tick of /proc: `USER_HZ` is 100 on all supported architectures.
const TICK_NS: u64 = 10_000_000;

/// Whether the process is still the one that started at this time (`CLOCK_BOOTTIME` ns), and not
/// another one with its id.
pub(crate) fn is_same(pid: u32, started_ns: u64) -> bool {
    started_ns_of(pid).is_some_and(|ns| ns / TICK_NS == started_ns / TICK_NS)
}

/// The start time of a process, rounded down to a tick: `CLOCK_BOOTTIME` ns.
pub(crate) fn started_ns_of(pid: u32) -> Option<u64> {
    Some(start_ticks(&stat(pid)?)? * TICK_NS)
}

/// The content of /proc/PID/stat.
pub(crate) fn stat(pid: u32) -> Option<Vec<u8>> {
    file::read(format!("/proc/{pid}/stat").as_ref())
}

/// The content of /proc/PID/status.
pub(crate) fn status(pid: u32) -> Option<String> {
    file::read_text(format!("/proc/{pid}/status").as_ref())
}

/// The path of the memory cgroup of a process.
pub(crate) fn cgroup(pid: u32) -> Option<String> {
    cgroup_of(&file::read_text(format!("/proc/{pid}/cgroup").as_ref())?)
}

/// The path of the memory cgroup in /proc/PID/cgroup: in a v1 hierarchy with the memory controller,
/// else in the unified one.
pub(crate) fn cgroup_of(text: &str) -> Option<String> {
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let memory = lines().find(|(names, _)| names.split(',').any(|name| name == "memory"));
    let unified = || lines().find(|(names, _)| names.is_empty());
    let (_, path) = memory.or_else(unified)?;
    // A cgroup that was removed with a zombie in it.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Some(cut(path, MAX_PATH_BYTES).to_owned())
}

/// The first mappings of a process, from /proc/PID/maps. A process can make that file block.
pub(crate) fn maps(pid: u32) -> Option<String> {
    let maps = Directory::at("/proc".as_ref())?.copy(path_below_proc(pid, "maps"), MAX_MAPS_BYTES);
    Some(String::from_utf8_lossy(&maps.ok()?).into_owned())
}

/// The opener leaves out a path at which it hung, for a minute. So the path must have the process
/// id: those of other processes are still read.
fn path_below_proc(pid: u32, name: &str) -> String {
    format!("{pid}/{name}")
}

/// Reads command line and executable, if the process is still the one that started at this time
/// (`CLOCK_BOOTTIME` ns).
pub(crate) fn read(root: &Path, pid: i32, started_ns: u64) -> Option<ProcessFiles> {
    let proc = root.join("proc");
    let directory = proc.join(pid.to_string());
    // Read first, because a process that exits has no argument area.
    let stat_before = file::read(&directory.join("stat"))?;
    let cmdline = cmdline(&proc, u32::try_from(pid).ok()?);
    let exe = fs::read_link(directory.join("exe")).ok();
    // Read last, because another process may get the id at any moment.
    let stat = file::read(&directory.join("stat"))?;
    let is_usable = |bytes: &Vec<u8>| !bytes.is_empty() && !is_cut(bytes, &stat_before);
    let files = ProcessFiles {
        cmdline: cmdline.filter(is_usable).map(|bytes| arguments(&bytes)),
        exe: exe.map(|path| cut(&path.to_string_lossy(), MAX_PATH_BYTES).to_owned()),
    };
    (start_ticks(&stat)? == started_ns / TICK_NS && files != ProcessFiles::default())
        .then_some(files)
}

/// The memory of the process, which may block a read: it can be on a file system that hangs.
fn cmdline(proc: &Path, pid: u32) -> Option<Vec<u8>> {
    let path = path_below_proc(pid, "cmdline");
    let copied = Directory::at(proc)?.copy(path, MAX_CMDLINE_BYTES + 1);
    copied.ok().filter(|bytes| bytes.len() as u64 <= MAX_CMDLINE_BYTES)
}

/// Whether a part of a command line is missing. The OOM reaper takes the memory of a victim page by
/// page, and a read of its command line ends before the first page that is gone. A process that
/// sets its title may also have less than its argument area, but hardly to the end of a page. The
/// area is 0 to 0 if the kernel does not show it: to a reader without permission, and of a process
/// that exits. Then only the NUL behind the last argument shows that the line is whole.
/// <https://github.com/torvalds/linux/blob/v6.12/fs/proc/base.c> `get_mm_cmdline`
fn is_cut(cmdline: &[u8], stat: &[u8]) -> bool {
    let (Some(start), Some(end)) = (field(stat, 48), field(stat, 49)) else { return false };
    if end == 0 {
        return !cmdline.ends_with(b"\0");
    }
    let read_to = start.saturating_add(cmdline.len() as u64);
    read_to < end && read_to.is_multiple_of(MIN_PAGE_BYTES)
}

fn arguments(bytes: &[u8]) -> Vec<String> {
    bytes
        .strip_suffix(b"\0")
        .unwrap_or(bytes)
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

fn start_ticks(stat: &[u8]) -> Option<u64> {
    field(stat, 22)
}

/// A number of /proc/PID/stat, by its place in proc(5), from 4 on. Field 2, the name, may hold
/// spaces and parentheses.
pub(crate) fn field(stat: &[u8], number: usize) -> Option<u64> {
    let stat = String::from_utf8_lossy(stat);
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{ProcessFiles, cgroup_of, is_cut, path_below_proc, read};

    /// A process with this start time, and its argument area from 8100 to 8300.
    fn stat() -> String {
        format!("42 (a) b) S {} 1234 0 {} 8100 8300", "0 ".repeat(18), "0 ".repeat(24))
    }

    #[test]
    fn files_of_two_processes_have_different_paths() {
        assert_ne!(path_below_proc(1, "maps"), path_below_proc(2, "maps"));
    }

    #[test]
    fn command_line_that_ends_with_a_page_is_cut() {
        let is_cut = |n_bytes| is_cut(&vec![b'a'; n_bytes], stat().as_bytes());
        assert!(is_cut(8192 - 8100));
        // Whole, and a title that a process set.
        assert!(!is_cut(200) && !is_cut(30));
        assert!(!super::is_cut(b"a", b"42 (a) S 0 0"));
    }

    #[test]
    fn command_line_without_its_end_is_cut_if_its_area_is_not_shown() {
        let stat = stat().replace("8100 8300", "0 0");
        assert!(is_cut(b"/bin/hog\0--cgroup\0/sys/fs/cgroup", stat.as_bytes()));
        assert!(!is_cut(b"/bin/hog\0--cgroup\0/sys/fs/cgroup/machine\0", stat.as_bytes()));
    }

    #[test]
    fn process_with_another_start_time_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("proc/42");
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(read(root.path(), 42, 0), None);
        fs::write(directory.join("cmdline"), "java\0-jar\0a b\0").unwrap();
        symlink("/usr/bin/java", directory.join("exe")).unwrap();
        fs::write(directory.join("stat"), stat()).unwrap();
        let words = ["java", "-jar", "a b"].map(str::to_owned).to_vec();
        let java = ProcessFiles { cmdline: Some(words), exe: Some("/usr/bin/java".to_owned()) };
        assert_eq!(read(root.path(), 42, 12_345_678_901), Some(java));
        assert_eq!(read(root.path(), 42, 12_350_000_000), None);
        fs::write(directory.join("cmdline"), "x".repeat(8192 - 8100)).unwrap();
        let files = read(root.path(), 42, 12_345_678_901).unwrap();
        assert_eq!(files.cmdline, None);
    }

    #[test]
    fn memory_cgroup_is_found_in_v1_and_v2() {
        for (text, path) in [
            ("0::/a/b\n", Some("/a/b")),
            ("5:cpu,cpuacct:/c\n4:memory:/m\n0::/u\n", Some("/m")),
            ("5:cpu:/c\n0::/u (deleted)\n", Some("/u")),
            ("0::/with:colon\n", Some("/with:colon")),
            ("5:cpu:/c\n", None),
            ("", None),
        ] {
            assert_eq!(cgroup_of(text).as_deref(), path, "{text}");
        }
    }
}
