//! Facts about a task besides those that the kernel reports with the event: the container, pod and
//! unit that its cgroup stands for, their names, its user, and its files in /proc.
//!
//! Look-ups never block the main loop. Each tenant has a share of them ([`lookup_shares`]).
//!
//! [`name_lookup`] reads files on a worker's thread, [`process_roots`] opens directories on
//! another, and [`symbol_requests`] finds the names of functions on a third.

pub(crate) mod container;
pub(crate) mod enrichment;
pub(crate) mod growing_process;
pub(crate) mod kernel_lookup;
pub(crate) mod lookup_shares;
pub(crate) mod name_lookup;
pub(crate) mod passwd;
pub(crate) mod privacy;
pub(crate) mod process_roots;
pub(crate) mod runtime_files;
pub(crate) mod stack_symbolizer;
pub(crate) mod symbol_requests;
pub(crate) mod tenants;
pub(crate) mod victim_proc;
