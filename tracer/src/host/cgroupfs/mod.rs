//! Facts from the cgroup file system: the paths of cgroups, and how often each ran out of memory.

pub(crate) mod kill_counter;
pub(crate) mod paths;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The user who owns the directory of a cgroup. `None` if the cgroup is gone.
pub(crate) fn owner(mount: &Path, path: &str) -> Option<u32> {
    fs::symlink_metadata(mount.join(path.trim_start_matches('/'))).map(|it| it.uid()).ok()
}

/// Id of the cgroup at this path. `None` once it is removed.
pub(crate) fn id(mount: &Path, path: &str) -> Option<u64> {
    fs::symlink_metadata(mount.join(path.trim_start_matches('/'))).map(|it| it.ino()).ok()
}

/// The names of the cgroups in a cgroup. One that was removed meanwhile has none.
pub(crate) fn children(mount: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(mount.join(path.trim_start_matches('/')));
    let cgroups = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    cgroups.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
