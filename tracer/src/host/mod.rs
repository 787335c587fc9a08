//! What the running kernel offers, in the order in which it is asked: its BTF ([`btf`], [`layout`]),
//! where it keeps what the probes read ([`offsets`]), the other facts of this host ([`support`],
//! with [`files`], [`policy`], [`kallsyms`], [`mark_format`], [`gfp`] and [`memcg_stat`]), and what follows from them ([`plan`], pure).
//!
//! Nothing here loads or attaches; that is the loader's.

pub(crate) mod bounded;
pub(crate) mod btf;
pub(crate) mod cgroup_paths;
pub(crate) mod clock;
pub(crate) mod files;
pub(crate) mod footprint;
pub(crate) mod gfp;
pub(crate) mod group_counter;
pub(crate) mod kallsyms;
pub(crate) mod kill_counter;
pub(crate) mod layout;
pub(crate) mod least_privilege;
pub(crate) mod mark_format;
pub(crate) mod memcg_stat;
pub(crate) mod offsets;
pub(crate) mod permission;
pub(crate) mod policy;
pub(crate) mod proc_file;
pub(crate) mod process;
pub(crate) mod support;
pub(crate) mod system;
pub(crate) mod worker;

#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::HashSet;

/// Every name of a BTF type that a module here asks for: [`btf::KernelBtf`] keeps these.
fn wanted_names() -> HashSet<&'static str> {
    offsets::structs()
        .chain(offsets::ENUMS.iter().copied())
        .chain(support::FUNCTIONS.iter().copied())
        .chain(support::typedefs())
        .chain(support::TYPES.iter().copied())
        .chain(memcg_stat::ENUMS.iter().copied())
        .chain(gfp::STRUCTS.iter().copied())
        .collect()
}

/// Every name of a member or enumerator, and no others either.
fn wanted_members() -> impl Iterator<Item = &'static str> {
    offsets::members()
        .chain(support::ENUMERATORS.iter().copied())
        .chain(gfp::MEMBERS.iter().copied())
        .chain(memcg_stat::enumerators())
}

/// Enumerators that are wanted by how they begin.
fn is_wanted_prefix(name: &[u8]) -> bool {
    name.starts_with(gfp::ENUMERATORS.as_bytes())
}
