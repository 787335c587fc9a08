//! /proc/PID, for what the probes did not read: it may be too late, and says so by being empty.

use std::{fs, path::Path};

use super::bounded;
use crate::model::{events::Name, facts::ProcessFiles};

/// As much as the kernel side keeps, and some more.
const MOST_BYTES: u64 = 1 << 16;
/// ns in a clock tick of /proc: `USER_HZ` is 100 on every architecture that we run on.
const TICK_NS: u64 = 10_000_000;

/// Whether the process is still the one that was started then (`CLOCK_BOOTTIME` ns).
pub(crate) fn is_same(pid: u32, started_ns: u64) -> bool {
    started_ns_of(pid).is_some_and(|ns| ns / TICK_NS == started_ns / TICK_NS)
}

/// When a process was started, as exact as /proc has it: `CLOCK_BOOTTIME` ns.
pub(crate) fn started_ns_of(pid: u32) -> Option<u64> {
    let stat = bounded::read(format!("/proc/{pid}/stat").as_ref(), MOST_BYTES)?;
    Some(start_ticks(&stat)? * TICK_NS)
}

/// Reads it, if the process is still the one that was started then (`CLOCK_BOOTTIME` ns).
pub(crate) fn read(root: &Path, pid: i32, started_ns: u64) -> Option<ProcessFiles> {
    let directory = root.join("proc").join(pid.to_string());
    let cmdline = bounded::read(&directory.join("cmdline"), MOST_BYTES);
    let exe = fs::read_link(directory.join("exe")).ok();
    // Asked last: the id may be used again at any moment.
    let stat = bounded::read(&directory.join("stat"), MOST_BYTES)?;
    let files = ProcessFiles {
        cmdline: cmdline.filter(|bytes| !bytes.is_empty()).map(|bytes| arguments(&bytes)),
        exe: exe.map(|path| path.to_string_lossy().into_owned()),
    };
    (start_ticks(&stat)? == started_ns / TICK_NS && files != ProcessFiles::default())
        .then_some(files)
}

fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let arguments = bytes.split(|&byte| byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(&Name(argument.to_vec()).0).into_owned())
        .collect()
}

fn start_ticks(stat: &[u8]) -> Option<u64> {
    field(stat, 22)
}

/// A number of /proc/PID/stat, by its place in proc(5), from 4 on; the name, field 2, may hold spaces and
/// parentheses.
pub(crate) fn field(stat: &[u8], number: usize) -> Option<u64> {
    let stat = String::from_utf8_lossy(stat);
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{ProcessFiles, read};

    #[test]
    fn a_process_is_read_only_while_it_is_the_same_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("proc/42");
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(read(root.path(), 42, 0), None);
        fs::write(directory.join("cmdline"), "java\0-jar\0a b\0").unwrap();
        symlink("/usr/bin/java", directory.join("exe")).unwrap();
        let stat = format!("42 (a) b) S {} 1234 0", "0 ".repeat(18));
        fs::write(directory.join("stat"), stat).unwrap();
        let words = ["java", "-jar", "a b"].map(str::to_owned).to_vec();
        let java = ProcessFiles { cmdline: Some(words), exe: Some("/usr/bin/java".to_owned()) };
        assert_eq!(read(root.path(), 42, 12_345_678_901), Some(java));
        assert_eq!(read(root.path(), 42, 12_350_000_000), None);
    }
}
