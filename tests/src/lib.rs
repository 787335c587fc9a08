//! What the virtual machine and the host share, and the oracle that checks the results.
//!
//! The flow: `cargo xtask test` boots each kernel of `kernels.toml` with a [`plan`]; the guest
//! (`src/bin/guest_init`) provokes the real OOM kills of the [`scenarios`], sends what was seen
//! through the [`outbox`], and powers off. On the host [`kmsg`] reads the kernel's own account of
//! the same kills, and [`oracle`] compares it with oomwhy's reports. README.md says which scenario
//! proves what.

pub mod bench;
pub mod containers;
pub mod facts;
pub mod kmsg;
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
pub mod workload;
