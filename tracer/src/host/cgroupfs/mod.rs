//! What the cgroup file system shows of cgroups: their paths, and how often each ran out of memory.

pub(crate) mod kill_counter;
pub(crate) mod paths;
