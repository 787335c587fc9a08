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

use aya_obj::generated::bpf_cmd::{
    BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,
    BPF_OBJ_GET_INFO_BY_FD,
};

/// The commands of bpf(2) that are needed once everything is attached: reading and writing maps
/// that are open.
pub(crate) const COMMANDS_OF_A_RUN: &[u32] = &[
    BPF_MAP_LOOKUP_ELEM as u32,
    BPF_MAP_UPDATE_ELEM as u32,
    BPF_MAP_DELETE_ELEM as u32,
    BPF_MAP_GET_NEXT_KEY as u32,
    BPF_OBJ_GET_INFO_BY_FD as u32,
];
