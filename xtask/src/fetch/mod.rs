//! Fetches the kernels and programs of the guests from Debian's archive into the cache, once.
//! Cached files are used without any network.

pub(crate) mod bpftrace;
pub(crate) mod busybox;
pub(crate) mod debian_root;
mod files;
pub(crate) mod kernel;
pub(crate) mod python;
mod sources;
pub(crate) mod suite;
