//! The temporary cgroup of a self-test. It is removed even if the test fails.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use crate::{
    commands::{Failure, exit::Exit},
    fmt::sanitize::shown,
    host::files::{CgroupMounts, Root},
};

/// A victim that has just been reaped may still keep the cgroup busy. Up to 2 s.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// A cgroup with a memory limit; removed when dropped.
#[derive(Debug)]
pub(super) struct TemporaryCgroup {
    pub(super) directory: PathBuf,
    /// The path below the mount.
    pub(super) path: String,
    /// 1 or 2.
    pub(super) version: u8,
}

impl TemporaryCgroup {
    /// Makes the cgroup below the cgroup of this process, or below the nearest ancestor that passes
    /// the memory controller on.
    pub(super) fn make(root: &Root, mounts: &CgroupMounts, limit: u64) -> Result<Self, Failure> {
        // The memory controller is on one hierarchy only: on v1 if a v1 one is mounted.
        let (mount, version) = match (&mounts.v1_memory, &mounts.v2) {
            (Some(mount), _) => (mount, 1),
            (None, Some(mount)) => (mount, 2),
            (None, None) => return Err(no_mount()),
        };
        let own = root.line("/proc/self/cgroup").unwrap_or_default();
        let parent = parent(mount, &own_path(&own, version), version)?;
        let name = format!("oomwhy-self-test-{}", process::id());
        let directory = parent.join(&name);
        fs::create_dir(&directory).map_err(|error| refused(&error, &parent))?;
        let path = below(mount, &directory);
        // From here on, dropping the value removes the directory.
        let cgroup = Self { directory, path, version };
        cgroup.limit(limit).map_err(|error| refused(&error, &cgroup.directory))?;
        Ok(cgroup)
    }

    /// Sets the limit, without swap, which would delay the kill.
    fn limit(&self, bytes: u64) -> io::Result<()> {
        let write = |file: &str, value: &str| fs::write(self.directory.join(file), value);
        let limit = bytes.to_string();
        if self.version == 2 {
            // The file is missing without swap accounting.
            let _ = write("memory.swap.max", "0");
            return write("memory.max", &limit);
        }
        // Children inherit the value of a parent.
        let _ = write("memory.oom_control", "0");
        let _ = write("memory.swappiness", "0");
        write("memory.limit_in_bytes", &limit)?;
        let _ = write("memory.memsw.limit_in_bytes", &limit);
        Ok(())
    }

    /// Removes the cgroup; fails if it stays.
    pub(super) fn remove(&self) -> Result<(), String> {
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    thread::sleep(REMOVE_PAUSE);
                }
                _ => return Ok(()),
            }
        }
        let directory = shown(&self.directory);
        Err(format!("cannot remove {directory}: it is busy\nhint: `rmdir {directory}`"))
    }
}

impl Drop for TemporaryCgroup {
    fn drop(&mut self) {
        // If it was removed before, this does nothing. A failure was reported then.
        let _ = self.remove();
    }
}

/// The path of the cgroup of this process, from /proc/self/cgroup.
fn own_path(text: &str, version: u8) -> String {
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_match = match version {
            1 => controllers.split(',').any(|controller| controller == "memory"),
            _ => hierarchy == "0",
        };
        is_match.then(|| path.to_owned())
    });
    path.unwrap_or_else(|| "/".to_owned())
}

/// The directory in which to make a cgroup that has the memory controller. On v1 every cgroup has
/// it. On v2 it is the own cgroup or the nearest ancestor that passes the controller on.
fn parent(mount: &Path, own: &str, version: u8) -> Result<PathBuf, Failure> {
    let own = mount.join(own.trim_start_matches('/'));
    let ancestors = || own.ancestors().take_while(|path| path.starts_with(mount));
    let passes_on = |directory: &Path| {
        let file = if version == 1 { "memory.limit_in_bytes" } else { "cgroup.subtree_control" };
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        if version == 1 { !text.is_empty() } else { names_memory(&text) }
    };
    if let Some(directory) = ancestors().find(|directory| passes_on(directory)) {
        return Ok(directory.to_owned());
    }
    let has = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    Err(no_controller(mount, version == 1 || names_memory(&has)))
}

fn names_memory(controllers: &str) -> bool {
    controllers.split_whitespace().any(|controller| controller == "memory")
}

fn below(mount: &Path, directory: &Path) -> String {
    let path = directory.strip_prefix(mount).unwrap_or(directory);
    format!("/{}", path.to_string_lossy())
}

fn no_mount() -> Failure {
    let message = "no self-test: no cgroup file system is mounted\nhint: as root, \
                   `mount -t cgroup2 none /sys/fs/cgroup`";
    Failure { exit: Exit::NotPermitted, message: message.to_owned() }
}

fn no_controller(mount: &Path, is_there: bool) -> Failure {
    let shown = shown(mount);
    let (exit, message) = if is_there {
        let why = format!("{shown} does not pass the memory controller on to its children");
        let hint = format!("as root, `echo +memory > {shown}/cgroup.subtree_control`");
        (Exit::NotPermitted, format!("no self-test: {why}\nhint: {hint}"))
    } else {
        let why = format!("there is no memory controller at {shown}");
        let hint = "the kernel needs CONFIG_MEMCG, and no cgroup_disable=memory at boot";
        (Exit::Unavailable, format!("no self-test: {why}\nhint: {hint}"))
    };
    Failure { exit, message }
}

fn refused(error: &io::Error, directory: &Path) -> Failure {
    let shown = shown(directory);
    let hint = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the cgroup file system is read-only, as in a container: run on the host, or \
             `mount -o remount,rw` it"
        }
        io::ErrorKind::PermissionDenied => {
            "run as root, or in a delegated cgroup: `systemd-run --user --scope -p \
             Delegate=memory oomwhy check --self-test`"
        }
        _ => {
            let message = format!("no self-test: cannot make a cgroup in {shown}: {error}");
            return Failure { exit: Exit::Failure, message };
        }
    };
    Failure {
        exit: Exit::NotPermitted,
        message: format!("no self-test: cannot make a cgroup in {shown}: {error}\nhint: {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::write_below;

    #[test]
    fn own_cgroup_is_found_by_controller() {
        let text = "9:name=systemd:/\n4:cpu,memory:/a/b\n3:cpuset:/\n0::/user.slice/x:y\n";
        assert_eq!(own_path(text, 1), "/a/b");
        assert_eq!(own_path(text, 2), "/user.slice/x:y");
        assert_eq!(own_path("", 2), "/");
    }

    #[test]
    fn parent_is_nearest_ancestor_that_passes_controller_on() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path();
        let put = |path: &str, text: &str| write_below(mount, path, text);
        let parent_of = |own: &str| parent(mount, own, 2);
        put("cgroup.controllers", "cpu io\n");
        assert_eq!(parent_of("/").unwrap_err().exit, Exit::Unavailable);
        put("cgroup.controllers", "cpu memory\n");
        let error = parent_of("/slice/scope").unwrap_err();
        assert_eq!(error.exit, Exit::NotPermitted);
        assert!(error.message.contains("echo +memory > "), "{error:?}");
        put("cgroup.subtree_control", "cpu memory\n");
        assert_eq!(parent_of("/slice/scope").unwrap(), mount);
        put("slice/cgroup.subtree_control", "memory pids\n");
        put("slice/scope/cgroup.subtree_control", "\n");
        assert_eq!(parent_of("/slice/scope").unwrap(), mount.join("slice"));
        // In a container, the path may be that of the host.
        assert_eq!(parent_of("/not/here").unwrap(), mount);
    }

    #[test]
    fn refusal_has_hint_with_fix() {
        for (errno, words) in [(30, "read-only"), (13, "run as root"), (1, "run as root")] {
            let failure = refused(&io::Error::from_raw_os_error(errno), Path::new("/c"));
            assert_eq!(failure.exit, Exit::NotPermitted);
            assert!(failure.message.contains(words), "{failure:?}");
        }
        let failure = refused(&io::Error::from_raw_os_error(28), Path::new("/c"));
        assert_eq!(failure.exit, Exit::Failure);
    }
}
