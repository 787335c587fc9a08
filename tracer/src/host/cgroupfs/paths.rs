//! Maps cgroup ids to paths, for hosts where the probes cannot read names
//! (lockdown=confidentiality).
//!
//! The id of a cgroup is the inode number of its directory. The hierarchy is scanned at the start,
//! then one directory per `cgroup_mkdir` event, so the path is known when the cgroup is gone.

use std::{
    fs,
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::model::{
    lru::Lru,
    names::{MAX_PATH_BYTES, cut},
};

/// More cgroups than most hosts have. Those that were made or asked for last are remembered.
const MAX_KNOWN: usize = 1 << 14;
/// Bytes of their paths.
const MAX_KNOWN_BYTES: usize = 4 << 20;

/// A look-up that finds nothing scans the whole hierarchy at most this often.
const SEARCHES_EVERY: Duration = Duration::from_secs(1);

/// The paths of one cgroup hierarchy.
#[derive(Debug)]
pub(crate) struct CgroupPaths {
    mount: PathBuf,
    known: Lru<u64, String>,
    /// When a look-up scanned the hierarchy last.
    searched_at: Option<Instant>,
}

impl CgroupPaths {
    /// Empty; the first look-up scans the hierarchy.
    pub(crate) fn new(mount: &Path) -> Self {
        Self {
            mount: mount.to_owned(),
            known: Lru::new(MAX_KNOWN, MAX_KNOWN_BYTES),
            searched_at: None,
        }
    }

    /// Adds a cgroup that was made below `parent`.
    pub(crate) fn made(&mut self, id: u64, parent: u64) {
        if self.known.contains_key(&id) {
            return;
        }
        if let Some(parent) = self.known.get(&parent).cloned() {
            self.scan_children(&parent);
        } else {
            self.scan_all();
        }
    }

    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Scans for a cgroup that is unknown, but not too often: many of them may be gone.
    pub(crate) fn get(&mut self, id: u64) -> Option<String> {
        let is_recent = self.searched_at.is_some_and(|at| at.elapsed() < SEARCHES_EVERY);
        if !self.known.contains_key(&id) && !is_recent {
            self.scan_all();
            self.searched_at = Some(Instant::now());
        }
        self.known.get(&id).cloned()
    }

    /// Finds the cgroups that exist now.
    pub(crate) fn scan_all(&mut self) {
        let Ok(root) = fs::metadata(&self.mount) else { return };
        self.known.insert(root.ino(), "/".to_owned());
        let mut todo = vec!["/".to_owned()];
        for _ in 0..MAX_KNOWN {
            let Some(path) = todo.pop() else { return };
            todo.extend(self.scan_children(&path));
            todo.truncate(MAX_KNOWN);
        }
    }

    /// Adds the children of one cgroup and returns their paths.
    fn scan_children(&mut self, parent: &str) -> Vec<String> {
        // The cgroup may be gone meanwhile.
        let Ok(entries) = fs::read_dir(self.mount.join(parent.trim_start_matches('/'))) else {
            return Vec::new();
        };
        let mut children = Vec::new();
        for entry in entries.flatten() {
            let is_cgroup = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_cgroup {
                continue;
            }
            let name = entry.file_name();
            let path = format!("{}/{}", parent.trim_end_matches('/'), name.to_string_lossy());
            self.known.insert(entry.ino(), cut(&path, MAX_PATH_BYTES).to_owned());
            children.push(path);
        }
        children
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::CgroupPaths;

    #[test]
    fn path_is_found_by_inode_even_after_the_cgroup_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("kubepods/pod1");
        std::fs::create_dir_all(&pod).unwrap();
        let id = |path: &std::path::Path| std::fs::metadata(path).unwrap().ino();
        let mut paths = CgroupPaths::new(root.path());
        paths.scan_all();
        assert_eq!(paths.get(id(root.path())).as_deref(), Some("/"));
        assert_eq!(paths.get(id(&pod)).as_deref(), Some("/kubepods/pod1"));
        let container = pod.join("c");
        std::fs::create_dir(&container).unwrap();
        let (container_id, pod_id) = (id(&container), id(&pod));
        paths.made(container_id, pod_id);
        std::fs::remove_dir(&container).unwrap();
        assert_eq!(paths.get(container_id).as_deref(), Some("/kubepods/pod1/c"));
        assert_eq!(paths.get(u64::MAX), None);
    }
}
