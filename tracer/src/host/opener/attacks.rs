//! What somebody could put where oomwhy opens a file. For the tests of everything that opens one.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    process::geteuid,
};

/// Puts something at a path. `false`: this host or user cannot make it.
pub(crate) type Put = fn(&Path) -> bool;

/// A null device.
const NULL: (u32, u32) = (1, 3);

/// None of these may be opened. Each has a name.
pub(crate) const ATTACKS: [(&str, Put); 10] = [
    ("device", |path| node(path, FileType::CharacterDevice, makedev(NULL.0, NULL.1))),
    ("fifo", |path| node(path, FileType::Fifo, 0)),
    ("socket", |path| node(path, FileType::Socket, 0)),
    ("directory", |path| fs::create_dir(path).is_ok()),
    ("procfs file", |path| symlink("/proc/self/stat", path).is_ok()),
    ("magic link", |path| symlink("/proc/self/exe", path).is_ok()),
    ("descriptor", |path| symlink("/proc/self/fd/0", path).is_ok()),
    ("link out", |path| symlink("../../../../../../../etc/passwd", path).is_ok()),
    ("absolute link out", |path| symlink("/etc/passwd", path).is_ok()),
    ("loop of links", |path| symlink(path.file_name().unwrap_or_default(), path).is_ok()),
];

/// Checks that a caller refuses each of them at the path of its file.
pub(crate) fn run_each(name: &str, path: &Path, mut is_refused: impl FnMut() -> bool) {
    for (attack, put) in ATTACKS {
        remove(path);
        if put(path) {
            assert!(is_refused(), "{name}: {attack}");
        } else {
            eprintln!("not run: {name}: {attack}");
        }
    }
    remove(path);
}

/// Neither root nor the user of the tests.
pub(crate) fn other_user() -> u32 {
    geteuid().as_raw() + 1
}

/// Gives a file to [`other_user`]. `false`: this needs root.
pub(crate) fn give_away(path: &Path) -> bool {
    let is_given = chown(path, Some(other_user()), None).is_ok();
    if !is_given {
        eprintln!("not run: a file of another user, which needs root");
    }
    is_given
}

pub(crate) fn node(path: &Path, kind: FileType, device: u64) -> bool {
    mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device).is_ok()
}

fn remove(path: &Path) {
    // Absent, or one of both.
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}
