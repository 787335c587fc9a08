//! The programs: which of them this host allows ([`hooks`], [`plan`]), and how they are loaded,
//! attached, pinned and read. The only module that uses aya.

pub(crate) mod counts;
pub(crate) mod growth_maps;
pub(crate) mod hooks;
pub(crate) mod journal;
pub(crate) mod load;
mod load_without_btf;
#[cfg(feature = "probe-log")]
mod log;
mod misses;
pub(crate) mod pin;
pub(crate) mod plan;
mod programs;
pub(crate) mod recorder_registry;
pub(crate) mod ring;
pub(crate) mod verified;
