//! oomwhy: why did the OOM killer kill that?
//!
//! ```text
//! kernel hook -> probe -> emit | ring buffer | ring -> decode -> assemble -> enrich -> report -> sinks
//! '----- tracer-ebpf -----'  '- tracer-common -'  '------------------ this crate ---------------'
//! ```
//!
//! Modules in the order in which data flows.

pub mod check;
pub mod cli;
pub mod command;
pub mod exit;

pub mod kernel;
pub mod least_privilege;
pub mod loader;
pub mod permission;
#[cfg(feature = "probe-log")]
pub mod probe_log;
pub mod ring;

pub mod decode;
pub mod events;

pub mod assemble;
pub mod gaps;
pub mod journal;
pub mod kmsg;
pub mod once;
pub mod recording;

pub mod cgroup_paths;
pub mod clock;
pub mod enrich;
pub mod group_counter;
pub mod kernel_symbols;
pub mod kill_counter;
pub mod own_child;
pub mod proc_file;
pub mod system;
pub mod user_symbols;
pub mod victim_proc;

pub mod compose;
pub mod fingerprint;
pub mod gfp;
pub mod host;
pub mod memcg_stat;
pub mod report;
pub mod verdict;

pub mod filter;
pub mod kernel_log;
pub mod live;
pub mod pipeline;
pub mod replay;
pub mod risk;
pub mod self_test;

pub mod sanitize;
pub mod sink;

pub mod explain;
pub mod flame;
pub mod footprint;
pub mod growth;
pub mod history;
