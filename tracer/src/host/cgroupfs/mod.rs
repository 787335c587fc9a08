//! Facts from the cgroup file system: the paths of cgroups, and how often each ran out of memory.

pub(crate) mod kill_counter;
pub(crate) mod paths;
