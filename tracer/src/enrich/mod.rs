//! Facts about a task besides those that the kernel reports with the event: the container, pod and
//! unit that its cgroup stands for, their names, its user, and its files in /proc.
//!
//! [`name_lookup`] reads files on a worker's thread, and [`symbol_requests`] finds the names of
//! functions on another, so that the main loop can drain the ring meanwhile.

pub(crate) mod container;
pub(crate) mod enrichment;
pub(crate) mod growing_process;
pub(crate) mod kernel_lookup;
pub(crate) mod name_lookup;
pub(crate) mod passwd;
pub(crate) mod privacy;
pub(crate) mod runtime_files;
pub(crate) mod stack_symbolizer;
pub(crate) mod symbol_requests;
pub(crate) mod victim_proc;
