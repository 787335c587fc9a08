//! The files whose code a process has mapped, from /proc/PID/maps while it is there.

use std::{collections::BTreeSet, fs, fs::File, io::Read as _};

/// More files with code than most processes have.
const MAX_FILES: usize = 48;
/// Bytes of the list of mappings that are looked at.
const MAX_BYTES: u64 = 4 << 20;

/// Opens them: as the process names each, and the file. Empty where the process has given back its
/// memory or may not be looked at.
pub(super) fn files(pid: u32) -> Vec<(String, File)> {
    let mut maps = String::new();
    let Ok(file) = File::open(format!("/proc/{pid}/maps")) else {
        return Vec::new();
    };
    if file.take(MAX_BYTES).read_to_string(&mut maps).is_err() {
        return Vec::new();
    }
    let open = |path: String| {
        // By the root of the process: it may live in a mount namespace of its own. Never a pipe or
        // a device: opening those can block.
        let file = format!("/proc/{pid}/root{path}");
        let is_file = fs::metadata(&file).is_ok_and(|file| file.is_file());
        Some((path, is_file.then(|| File::open(file).ok())??))
    };
    code(&maps).into_iter().take(MAX_FILES).filter_map(open).collect()
}

/// Paths of mappings that may be executed.
fn code(maps: &str) -> BTreeSet<String> {
    maps.lines().filter_map(path_of_code).map(str::to_owned).collect()
}

/// `start-end perms offset device inode    path`
fn path_of_code(line: &str) -> Option<&str> {
    let mut words = line.splitn(6, ' ');
    let permissions = words.nth(1)?;
    let path = words.nth(3)?.trim_start();
    let is_code = permissions.as_bytes().get(2) == Some(&b'x');
    // A file that was removed is not to be had under its name any more.
    (is_code && path.starts_with('/') && !path.ends_with(" (deleted)")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_code_are_found_once_each() {
        let maps = "\
            55d0c0000000-55d0c0002000 r--p 00000000 fe:00 1234    /usr/bin/app\n\
            55d0c0002000-55d0c0006000 r-xp 00002000 fe:00 1234    /usr/bin/app\n\
            55d0c0006000-55d0c0007000 r-xp 00002000 fe:00 1234    /usr/bin/app\n\
            7f0000000000-7f0000001000 r-xp 00000000 fe:00 99      /lib/with a blank.so\n\
            7f0000001000-7f0000002000 r-xp 00000000 fe:00 98      /tmp/gone (deleted)\n\
            7f0000002000-7f0000003000 rwxp 00000000 00:00 0 \n\
            7fff00000000-7fff00001000 r-xp 00000000 00:00 0       [vdso]\n\
            broken\n";
        let found: Vec<String> = code(maps).into_iter().collect();
        assert_eq!(found, ["/lib/with a blank.so", "/usr/bin/app"]);
    }

    #[test]
    fn nobody_has_no_files() {
        assert!(files(u32::MAX).is_empty());
        assert!(!files(std::process::id()).is_empty());
    }
}
