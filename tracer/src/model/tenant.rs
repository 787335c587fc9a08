//! Whom a look-up is for. Look-ups are shared between tenants, so that none can starve the others.

use std::sync::Arc;

use super::lru::ByteSize;

/// A cgroup below the top level: a container, a pod, a service or a user. Its cgroups are in the
/// hands of one party.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant with this cgroup.
    pub(crate) fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The tenant of a cgroup whose path is not known so far.
    pub(crate) fn of_unknown_path(cgroup_id: u64) -> Self {
        Self(format!("cgroup {cgroup_id}").into())
    }
}

impl ByteSize for Tenant {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.0.len()
    }
}
