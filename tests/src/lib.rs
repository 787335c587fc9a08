//! The code that the virtual machine and the host share, and the oracle that checks the results.
//!
//! `cargo xtask test` boots each kernel of `kernels.toml` with a [`plan`]. The guest
//! (`src/bin/guest_init`) provokes the real OOM kills of the [`scenarios`], sends the results
//! through the [`outbox`], and powers off. On the host `kmsg` reads the kernel's log of the same
//! kills, and [`oracle`] compares it with oomwhy's reports. README.md lists the proof of each
//! scenario.

pub mod attempts;
pub mod bench;
pub mod containers;
pub mod facts;
mod kmsg;
pub mod matrix;
pub mod oracle;
pub mod outbox;
pub mod page;
pub mod plan;
pub mod programs;
pub mod report;
pub mod scenario;
pub mod scenarios;
pub mod support;
pub mod verified;
pub mod workload;
