//! oomwhy: why did the OOM killer kill that?
//!
//! ```text
//! kernel hook -> probe -> emit | ring buffer | ring -> decode -> assemble -> enrich -> report -> sinks
//! '----- tracer-ebpf -----'  '- tracer-common -'  '------------------ this crate ---------------'
//! ```
//!
//! Modules in the order in which data flows.

pub mod cli;
pub mod command;
pub mod exit;

pub mod kernel;
pub mod loader;
#[cfg(feature = "probe-log")]
pub mod probe_log;
pub mod ring;

pub mod decode;
pub mod events;

pub mod assemble;
pub mod gaps;
pub mod recording;

pub mod cgroup_paths;
pub mod clock;
pub mod kernel_symbols;
pub mod kill_counter;
pub mod proc_file;
pub mod system;
pub mod user_symbols;

pub mod compose;
pub mod gfp;
pub mod host;
pub mod memcg_stat;
pub mod report;

pub mod filter;
pub mod live;
pub mod pipeline;
pub mod replay;
pub mod risk;

pub mod sanitize;
pub mod sink;
