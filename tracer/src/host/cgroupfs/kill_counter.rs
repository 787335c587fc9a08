//! The kernel's count of OOM kills per memory cgroup: `oom_kill` in memory.events (cgroup v1:
//! memory.oom_control, since 4.13).

use std::path::{Path, PathBuf};

use super::{id, read};

/// A cgroup that has a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedCgroup {
    /// The inode number of its directory.
    pub id: u64,
    /// Path from the root of the hierarchy.
    pub path: String,
}

#[derive(Debug)]
pub(crate) struct CgroupKillCounter {
    mount: PathBuf,
    file: &'static str,
}

impl CgroupKillCounter {
    /// The counters of the hierarchy that is mounted at `mount`.
    pub(crate) fn new(mount: &Path, is_v2: bool) -> Self {
        let file = if is_v2 { "memory.events" } else { "memory.oom_control" };
        Self { mount: mount.to_owned(), file }
    }

    pub(crate) fn find(&self, path: &str) -> Option<CountedCgroup> {
        Some(CountedCgroup { id: id(&self.mount, path)?, path: path.to_owned() })
    }

    /// Kills since the group was made. `None` if it is gone or another group has its path.
    pub(crate) fn read(&self, group: &CountedCgroup) -> Option<u64> {
        if id(&self.mount, &group.path)? != group.id {
            return None;
        }
        let text = read(&self.mount, &format!("{}/{}", group.path, self.file))?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn counter_of_another_group_with_the_same_path_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/memory.events"), "oom 9\noom_kill 7\n").unwrap();
        let counter = CgroupKillCounter::new(folder.path(), true);
        let group = counter.find("/a").unwrap();
        assert_eq!(counter.read(&group), Some(7));
        let other = CountedCgroup { id: group.id + 1, ..group.clone() };
        assert_eq!(counter.read(&other), None);
        assert_eq!(counter.find("/b"), None);
        assert_eq!(CgroupKillCounter::new(folder.path(), false).read(&group), None);
    }
}
