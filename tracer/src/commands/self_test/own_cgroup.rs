//! A cgroup of our own: found a place for, made with its limit, removed whatever happens.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use crate::{
    commands::{Failure, exit::Exit},
    host::files::{CgroupMounts, Root},
};

/// A victim that was reaped a moment ago may still hold the cgroup.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// The cgroup; removed when dropped.
#[derive(Debug)]
pub(super) struct OwnCgroup {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// Its path below the mount.
    pub(super) path: String,
    /// 1 or 2.
    pub(super) version: u8,
}

impl OwnCgroup {
    /// Makes it below our own cgroup, or as near to it as the memory controller reaches.
    pub(super) fn make(root: &Root, mounts: &CgroupMounts, limit: u64) -> Result<Self, Failure> {
        // The memory controller is on one hierarchy only: where a v1 one is mounted, it is there.
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
        // From here on it is removed.
        let cgroup = Self { directory, path, version };
        cgroup.limit(limit).map_err(|error| refused(&error, &cgroup.directory))?;
        Ok(cgroup)
    }

    /// Sets the limit; swap must not put off the end.
    fn limit(&self, bytes: u64) -> io::Result<()> {
        let write = |file: &str, value: &str| fs::write(self.directory.join(file), value);
        let bytes = bytes.to_string();
        if self.version == 2 {
            // Not there without swap accounting.
            let _ = write("memory.swap.max", "0");
            return write("memory.max", &bytes);
        }
        // A parent's may be inherited.
        let _ = write("memory.oom_control", "0");
        let _ = write("memory.swappiness", "0");
        write("memory.limit_in_bytes", &bytes)?;
        let _ = write("memory.memsw.limit_in_bytes", &bytes);
        Ok(())
    }

    /// Removes it and says so if it stays.
    pub(super) fn remove(&self) -> Result<(), String> {
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    thread::sleep(REMOVE_PAUSE);
                }
                _ => return Ok(()),
            }
        }
        let directory = self.directory.display();
        Err(format!("{directory} cannot be removed: `rmdir {directory}`"))
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // A second time where it was removed: not there is fine. Who must hear of it has.
        let _ = self.remove();
    }
}

/// The path of our own cgroup, from /proc/self/cgroup.
fn own_path(text: &str, version: u8) -> String {
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match version {
            1 => controllers.split(',').any(|controller| controller == "memory"),
            _ => hierarchy == "0",
        };
        is_it.then(|| path.to_owned())
    });
    path.unwrap_or_else(|| "/".to_owned())
}

/// Where a cgroup with a memory controller can be made: v1 has it everywhere; on v2 a cgroup that
/// hands it on to its children, ours or the nearest above.
fn parent(mount: &Path, own: &str, version: u8) -> Result<PathBuf, Failure> {
    let own = mount.join(own.trim_start_matches('/'));
    let ancestors = || own.ancestors().take_while(|path| path.starts_with(mount));
    let hands_on = |directory: &Path| {
        let file = if version == 1 { "memory.limit_in_bytes" } else { "cgroup.subtree_control" };
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        if version == 1 { !text.is_empty() } else { names_memory(&text) }
    };
    if let Some(directory) = ancestors().find(|directory| hands_on(directory)) {
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
    format!("/{}", path.display())
}

fn no_mount() -> Failure {
    let message = "no self-test: no cgroup file system is mounted; as root, `mount -t cgroup2 none \
                   /sys/fs/cgroup`";
    Failure { exit: Exit::NotPermitted, message: message.to_owned() }
}

fn no_controller(mount: &Path, is_there: bool) -> Failure {
    let mount = mount.display();
    let (exit, message) = if is_there {
        let why = "the memory controller is not handed on to children at";
        let mend = format!("as root, `echo +memory > {mount}/cgroup.subtree_control`");
        (Exit::NotPermitted, format!("no self-test: {why} {mount}; {mend}"))
    } else {
        let mend = "the kernel needs CONFIG_MEMCG, and no cgroup_disable=memory";
        let why = format!("there is no memory controller at {mount}");
        (Exit::Unavailable, format!("no self-test: {why}; {mend}"))
    };
    Failure { exit, message }
}

fn refused(error: &io::Error, directory: &Path) -> Failure {
    let directory = directory.display();
    let mend = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the cgroup file system is read-only here, as in a container: run it on the host, or \
             `mount -o remount,rw` it"
        }
        io::ErrorKind::PermissionDenied => {
            "run as root, or where it is delegated: `systemd-run --user --scope -p Delegate=memory \
             oomwhy check --self-test`"
        }
        _ => {
            let message = format!("no self-test: no cgroup can be made in {directory}: {error}");
            return Failure { exit: Exit::Failure, message };
        }
    };
    Failure {
        exit: Exit::NotPermitted,
        message: format!("no self-test: no cgroup can be made in {directory} ({error}): {mend}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cgroup_is_found_by_controller() {
        let text = "9:name=systemd:/\n4:cpu,memory:/a/b\n3:cpuset:/\n0::/user.slice/x:y\n";
        assert_eq!(own_path(text, 1), "/a/b");
        assert_eq!(own_path(text, 2), "/user.slice/x:y");
        assert_eq!(own_path("", 2), "/");
    }

    #[test]
    fn the_place_is_the_nearest_that_hands_the_controller_on() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path();
        let put = |path: &str, text: &str| {
            let file = mount.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let place = |own: &str| parent(mount, own, 2);
        put("cgroup.controllers", "cpu io\n");
        assert_eq!(place("/").unwrap_err().exit, Exit::Unavailable);
        put("cgroup.controllers", "cpu memory\n");
        let error = place("/slice/scope").unwrap_err();
        assert_eq!(error.exit, Exit::NotPermitted);
        assert!(error.message.contains("echo +memory > "), "{error:?}");
        put("cgroup.subtree_control", "cpu memory\n");
        assert_eq!(place("/slice/scope").unwrap(), mount);
        put("slice/cgroup.subtree_control", "memory pids\n");
        put("slice/scope/cgroup.subtree_control", "\n");
        assert_eq!(place("/slice/scope").unwrap(), mount.join("slice"));
        // In a container the path may be that of the host.
        assert_eq!(place("/not/here").unwrap(), mount);
    }

    #[test]
    fn where_none_can_be_made_the_mend_is_named() {
        for (errno, words) in [(30, "read-only"), (13, "run as root"), (1, "run as root")] {
            let failure = refused(&io::Error::from_raw_os_error(errno), Path::new("/c"));
            assert_eq!(failure.exit, Exit::NotPermitted);
            assert!(failure.message.contains(words), "{failure:?}");
        }
        let failure = refused(&io::Error::from_raw_os_error(28), Path::new("/c"));
        assert_eq!(failure.exit, Exit::Failure);
    }
}
