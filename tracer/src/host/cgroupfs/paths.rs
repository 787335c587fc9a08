//! Maps cgroup ids to paths, for hosts where the probes cannot read names
//! (lockdown=confidentiality).
//!
//! The id of a cgroup is the inode number of its directory. The hierarchy is scanned at the start,
//! then the parent of each new cgroup, so the path is known when the cgroup is gone. A scan reads
//! all siblings, and somebody may make many of them. So scans take only a small share of the time:
//! parents wait for their turn, and one scan finds all cgroups that were made meanwhile.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{entries, id};
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
/// After a scan, the next one waits this many times as long as that scan took.
const PAUSE_PER_SCAN: u32 = 20;
/// Parents that wait for a scan. Beyond that, the oldest do not get theirs.
const MAX_WAITING: usize = 64;

/// The paths of one cgroup hierarchy.
#[derive(Debug)]
pub(crate) struct CgroupPaths {
    mount: PathBuf,
    known: Lru<u64, String>,
    /// Cgroups in which others were made since they were scanned.
    waiting: Lru<u64, ()>,
    /// When the next scan may begin.
    next_scan: Instant,
    /// When a look-up scanned the hierarchy last.
    searched_at: Option<Instant>,
}

impl CgroupPaths {
    /// Empty; the first look-up scans the hierarchy.
    pub(crate) fn new(mount: &Path) -> Self {
        Self {
            mount: mount.to_owned(),
            known: Lru::new(MAX_KNOWN, MAX_KNOWN_BYTES),
            waiting: Lru::new(MAX_WAITING, usize::MAX),
            next_scan: Instant::now(),
            searched_at: None,
        }
    }

    /// Adds a cgroup that was made below `parent`, now or with a later one.
    pub(crate) fn made(&mut self, id: u64, parent: u64) {
        if !self.known.contains_key(&id) {
            self.waiting.insert(parent, ());
        }
        self.scan_next();
    }

    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Number of paths that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.known.n_evicted() + self.waiting.n_evicted()
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
        let Some(root) = id(&self.mount, "/") else { return };
        self.known.insert(root, "/".to_owned());
        let mut todo = vec!["/".to_owned()];
        for _ in 0..MAX_KNOWN {
            let Some(path) = todo.pop() else { return };
            todo.extend(self.scan_children(&path));
            todo.truncate(MAX_KNOWN);
        }
    }

    fn scan_next(&mut self) {
        let begin = Instant::now();
        let parent = self.waiting.iter().next().map(|(parent, ())| *parent);
        let Some(parent) = parent.filter(|_| begin >= self.next_scan) else { return };
        self.waiting.remove(&parent);
        match self.known.get(&parent).cloned() {
            Some(path) => drop(self.scan_children(&path)),
            None => self.scan_all(),
        }
        self.next_scan = Instant::now() + begin.elapsed() * PAUSE_PER_SCAN;
    }

    /// Adds the children of one cgroup and returns their paths. The cgroup may be gone meanwhile.
    fn scan_children(&mut self, parent: &str) -> Vec<String> {
        let mut children = Vec::new();
        for (name, id) in entries(&self.mount, parent).take(MAX_KNOWN) {
            let path = format!("{}/{name}", parent.trim_end_matches('/'));
            self.known.insert(id, cut(&path, MAX_PATH_BYTES).to_owned());
            children.push(path);
        }
        children
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    fn id_of(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn path_is_found_by_inode_even_after_the_cgroup_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("kubepods/pod1");
        fs::create_dir_all(&pod).unwrap();
        let mut paths = CgroupPaths::new(root.path());
        paths.scan_all();
        assert_eq!(paths.get(id_of(root.path())).as_deref(), Some("/"));
        assert_eq!(paths.get(id_of(&pod)).as_deref(), Some("/kubepods/pod1"));
        let container = pod.join("c");
        fs::create_dir(&container).unwrap();
        let (container_id, pod_id) = (id_of(&container), id_of(&pod));
        paths.made(container_id, pod_id);
        fs::remove_dir(&container).unwrap();
        assert_eq!(paths.get(container_id).as_deref(), Some("/kubepods/pod1/c"));
        assert_eq!(paths.get(u64::MAX), None);
    }

    /// Somebody makes cgroup after cgroup, each beside all others.
    #[test]
    fn made_beside_many_siblings_takes_a_small_share_of_the_time() {
        let root = tempfile::tempdir().unwrap();
        (0..2000).for_each(|number| fs::create_dir(root.path().join(number.to_string())).unwrap());
        let parent = id_of(root.path());
        let mut paths = CgroupPaths::new(root.path());
        paths.scan_all();
        let begin = Instant::now();
        paths.made(u64::MAX, parent);
        let one_scan = begin.elapsed();
        let begin = Instant::now();
        (0..1000).for_each(|number| paths.made(u64::MAX - number, parent));
        assert!(begin.elapsed() < one_scan * 200, "{one_scan:?}, then {:?}", begin.elapsed());
        assert_eq!(paths.waiting.len(), 1);
    }

    #[test]
    fn cgroup_made_during_a_pause_is_found_by_the_next_scan() {
        let root = tempfile::tempdir().unwrap();
        let parent = id_of(root.path());
        let mut paths = CgroupPaths::new(root.path());
        paths.scan_all();
        paths.next_scan = Instant::now() + Duration::from_hours(1);
        let new = |name: &str| {
            let directory = root.path().join(name);
            fs::create_dir(&directory).unwrap();
            id_of(&directory)
        };
        let (first, second) = (new("first"), new("second"));
        paths.made(first, parent);
        assert!(!paths.known.contains_key(&first));
        paths.next_scan = Instant::now();
        paths.made(second, parent);
        assert_eq!(paths.known.get(&first).map(String::as_str), Some("/first"));
        assert_eq!(paths.known.get(&second).map(String::as_str), Some("/second"));
        assert!(paths.waiting.is_empty());
    }
}
