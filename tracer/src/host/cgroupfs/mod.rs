//! Facts from the cgroup file system: the paths of cgroups, who may make them, and how often each
//! ran out of memory.
//!
//! The thread that drains the ring reads here. So a file system that somebody mounted over a cgroup
//! is never entered: it could be one that hangs.

pub(crate) mod kill_counter;
pub(crate) mod paths;

use std::{
    fs::{File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2},
    process::{getegid, geteuid},
};

/// No file of a cgroup is longer.
const MAX_FILE_BYTES: u64 = 1 << 16;
/// Write permission for the group, and for everybody.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Who may make cgroups in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delegation {
    /// Only root, or the user who runs oomwhy.
    Kept,
    /// It was delegated to this user.
    To(u32),
}

/// Who may make cgroups in the cgroup at this path. `None` if it is gone.
pub(crate) fn delegation(mount: &Path, path: &str) -> Option<Delegation> {
    let meta = metadata(mount, path)?;
    let is_ours = meta.uid() == 0 || meta.uid() == geteuid().as_raw();
    let is_our_group = meta.gid() == 0 || meta.gid() == getegid().as_raw();
    let has = |permission: u32| meta.mode() & permission != 0;
    let is_open = has(OTHERS_WRITE) || has(GROUP_WRITES) && !is_our_group;
    Some(if is_ours && !is_open { Delegation::Kept } else { Delegation::To(meta.uid()) })
}

/// The user who owns the directory of a cgroup. `None` if the cgroup is gone.
pub(crate) fn owner(mount: &Path, path: &str) -> Option<u32> {
    metadata(mount, path).map(|it| it.uid())
}

/// Id of the cgroup at this path. `None` once it is removed.
pub(crate) fn id(mount: &Path, path: &str) -> Option<u64> {
    metadata(mount, path).map(|it| it.ino())
}

/// The names of the cgroups in a cgroup. One that was removed meanwhile has none.
pub(crate) fn children(mount: &Path, path: &str) -> Vec<String> {
    entries(mount, path).map(|(name, _)| name).collect()
}

/// The cgroups in a cgroup, each with its name and its id.
fn entries(mount: &Path, path: &str) -> impl Iterator<Item = (String, u64)> + use<> {
    let directory = open(mount, path, OFlags::RDONLY | OFlags::DIRECTORY);
    let entries = directory.and_then(|it| Dir::new(it).ok()).into_iter().flatten().flatten();
    let cgroups = entries.filter(|entry| {
        entry.file_type() == FileType::Directory && ![c".", c".."].contains(&entry.file_name())
    });
    cgroups.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.ino()))
}

fn metadata(mount: &Path, path: &str) -> Option<Metadata> {
    open(mount, path, OFlags::PATH)?.metadata().ok()
}

/// A file of a cgroup, given by the path of both.
fn read(mount: &Path, path: &str) -> Option<String> {
    let mut text = String::new();
    let file = open(mount, path, OFlags::RDONLY)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn open(mount: &Path, path: &str, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::CLOEXEC;
    let base = openat(CWD, mount, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let below = match path.trim_matches('/') {
        "" => ".",
        below => below,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(base, below, flags, Mode::empty(), resolve).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, chown, symlink},
        process::Command,
    };

    use super::*;

    #[test]
    fn cgroup_that_others_may_write_to_is_delegated() {
        let mount = tempfile::tempdir().unwrap();
        let cgroup = mount.path().join("a");
        fs::create_dir(&cgroup).unwrap();
        let found = |mode: u32| {
            fs::set_permissions(&cgroup, Permissions::from_mode(mode)).unwrap();
            delegation(mount.path(), "/a")
        };
        let own = geteuid().as_raw();
        assert_eq!(found(0o755), Some(Delegation::Kept));
        assert_eq!(found(0o775), Some(Delegation::Kept));
        assert_eq!(found(0o757), Some(Delegation::To(own)));
        assert_eq!(delegation(mount.path(), "/b"), None);
        if chown(&cgroup, None, Some(65534)).is_err() {
            eprintln!("not run: files of others, which need root");
            return;
        }
        assert_eq!(found(0o775), Some(Delegation::To(own)));
        chown(&cgroup, Some(65534), Some(0)).unwrap();
        assert_eq!(found(0o755), Some(Delegation::To(65534)));
        assert_eq!(owner(mount.path(), "/a"), Some(65534));
    }

    #[test]
    fn path_over_a_link_or_out_of_the_hierarchy_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("mount");
        fs::create_dir_all(mount.join("a/b")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        symlink("a", mount.join("link")).unwrap();
        assert!(id(&mount, "/a/b").is_some() && id(&mount, "/").is_some());
        for path in ["/link/b", "/link", "/../outside", "/a/c"] {
            assert_eq!(id(&mount, path), None, "{path}");
        }
        assert_eq!(children(&mount, "/"), ["a"]);
    }

    #[test]
    fn file_system_that_is_mounted_over_a_cgroup_is_not_entered() {
        let mount = tempfile::tempdir().unwrap();
        let cgroup = mount.path().join("a");
        fs::create_dir(&cgroup).unwrap();
        let on_it = |command: &mut Command| command.arg(&cgroup).status();
        let mounted = on_it(Command::new("mount").args(["-t", "tmpfs", "none"]));
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("not run: mount(2) needs root");
            return;
        }
        fs::create_dir(cgroup.join("b")).unwrap();
        let found = (id(mount.path(), "/a"), children(mount.path(), "/a"));
        on_it(&mut Command::new("umount")).unwrap();
        assert_eq!(found, (None, Vec::new()));
    }
}
