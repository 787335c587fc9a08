//! Capabilities: dropping those that are not needed, and why the kernel refused something.

pub(crate) mod denial;
pub(crate) mod drop;
