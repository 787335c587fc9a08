//! Which tenant a task belongs to. The probes report the ids of cgroups with a task, and their
//! paths a moment later.

use std::sync::{Arc, Mutex, PoisonError};

use super::container::tenant;
use crate::{
    host::procfs::process,
    model::{events::Task, lru::Lru, tenant::Tenant},
};

/// Cgroups whose tenant is known.
const MAX_KNOWN: usize = 4096;
const MAX_KNOWN_BYTES: usize = 512 << 10;

/// The tenants of cgroups, shared with the threads that look things up.
#[derive(Clone, Debug)]
pub(crate) struct Tenants(Arc<Mutex<Lru<u64, Tenant>>>);

impl Default for Tenants {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Lru::new(MAX_KNOWN, MAX_KNOWN_BYTES))))
    }
}

/// A process and the kernfs id of its cgroup, for [`Tenants`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCgroup {
    pub pid: u32,
    pub cgroup_id: Option<u64>,
}

impl TaskCgroup {
    pub(crate) fn of(task: &Task) -> Self {
        Self { pid: u32::try_from(task.tgid).unwrap_or_default(), cgroup_id: task.cgroup_id }
    }
}

impl Tenants {
    /// Notes the path of a cgroup.
    pub(crate) fn learn(&self, cgroup_id: u64, path: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(cgroup_id, tenant(path));
    }

    /// The tenant of a task as far as it is known by now. Reads no file.
    pub(crate) fn known(&self, task: TaskCgroup) -> Tenant {
        let Some(id) = task.cgroup_id else { return Tenant::default() };
        self.of_cgroup(id).unwrap_or_else(|| Tenant::of_unknown_path(id))
    }

    /// The tenant of a task. Otherwise a tenant would have a new share with each cgroup that it
    /// makes, until the path comes.
    pub(crate) fn find(&self, task: TaskCgroup) -> Tenant {
        let by_id = task.cgroup_id.and_then(|id| self.of_cgroup(id));
        by_id
            .or_else(|| process::cgroup(task.pid).map(|path| tenant(&path)))
            .unwrap_or_else(|| self.known(task))
    }

    fn of_cgroup(&self, id: u64) -> Option<Tenant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Number of cgroups that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).n_evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_belongs_to_its_cgroup_by_path_then_by_process_then_by_id() {
        let tenants = Tenants::default();
        let gone = TaskCgroup { pid: u32::MAX, cgroup_id: Some(7) };
        assert_eq!(tenants.known(gone), Tenant::of_unknown_path(7));
        assert_eq!(tenants.find(gone), Tenant::of_unknown_path(7));
        let own = TaskCgroup { pid: std::process::id(), ..gone };
        let of_process = tenant(&process::cgroup(own.pid).unwrap());
        assert_eq!((tenants.known(own), tenants.find(own)), (tenants.known(gone), of_process));
        tenants.learn(7, "/docker/a/b");
        let expected = Tenant::new("/docker/a");
        assert_eq!([tenants.known(own), tenants.find(own)], [expected.clone(), expected]);
        let unknown = TaskCgroup { cgroup_id: None, ..gone };
        assert_eq!(tenants.known(unknown), Tenant::default());
    }
}
