//! Facts about this host. The decisions that follow from them are made in `bpf/plan.rs`, and
//! `oomwhy check` shows them.
//!
//! - [`facts`]: all facts together, from the modules below.
//! - [`btf`], [`layout`], [`offsets`]: the kernel's types, and where it keeps each field.
//! - [`kallsyms`], [`mark_format`], [`gfp_flags`], [`memcg_stat_items`]: names and formats.
//! - [`files`], [`policy`], [`capabilities`]: settings, mounts and permissions.
//! - [`procfs`], [`cgroupfs`]: files that are read again while oomwhy runs.
//! - [`line_reader`]: lines of files from elsewhere, in bounded memory.
//! - [`oom_score_adj`], [`panic_hook`], [`footprint`], [`threads`], [`worker`], [`kept_open`]: OOM
//!   protection, panics, memory, threads and open files of oomwhy.
//! - [`confinement`], [`seccomp`]: what oomwhy gives up once it runs.

pub(crate) mod btf;
pub(crate) mod capabilities;
pub(crate) mod cgroupfs;
pub(crate) mod clock;
pub(crate) mod confinement;
pub(crate) mod descriptors;
pub(crate) mod disposable;
pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod footprint;
pub(crate) mod gfp_flags;
pub(crate) mod kallsyms;
pub(crate) mod kept_open;
pub(crate) mod layout;
pub(crate) mod line_reader;
pub(crate) mod mark_format;
pub(crate) mod memcg_stat_items;
pub(crate) mod offsets;
pub(crate) mod oom_score_adj;
pub(crate) mod opener;
pub(crate) mod panic_hook;
pub(crate) mod policy;
pub(crate) mod procfs;
mod seccomp;
pub(crate) mod threads;
pub(crate) mod worker;

#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::HashSet;

use facts::WantedHook;

/// The names of BTF types that a module here asks for. [`btf::KernelBtf`] keeps only these.
fn wanted_names(hooks: &[WantedHook]) -> HashSet<String> {
    offsets::structs()
        .chain(offsets::ENUMS.iter().copied())
        .chain(facts::TYPES.iter().copied())
        .chain(memcg_stat_items::ENUMS.iter().copied())
        .chain(gfp_flags::STRUCTS.iter().copied())
        .map(str::to_owned)
        .chain(hooks.iter().flat_map(WantedHook::btf_names))
        .collect()
}

/// The names of members and enumerators, likewise.
fn wanted_members() -> impl Iterator<Item = &'static str> {
    offsets::members()
        .chain(facts::ENUMERATORS.iter().copied())
        .chain(gfp_flags::MEMBERS.iter().copied())
        .chain(memcg_stat_items::enumerators())
}

/// Whether an enumerator is wanted because of the beginning of its name.
fn is_wanted_prefix(name: &[u8]) -> bool {
    name.starts_with(gfp_flags::ENUMERATORS.as_bytes())
}
