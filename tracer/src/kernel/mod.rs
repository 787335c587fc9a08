//! What the running kernel offers, in the order in which it is asked: its BTF ([`btf`], [`layout`]),
//! where it keeps what the probes read ([`offsets`]), the other facts of this host ([`support`],
//! with [`files`], [`kallsyms`] and [`gfp`]), and what follows from them ([`plan`], pure).
//!
//! Nothing here loads or attaches; that is the loader's.

pub mod btf;
pub mod files;
pub mod gfp;
pub mod kallsyms;
pub mod layout;
pub mod offsets;
pub mod plan;
pub mod support;

#[cfg(test)]
mod fixtures;

use std::collections::HashSet;

/// Every BTF name that a module here asks for: [`btf::KernelBtf`] indexes these and no others.
fn wanted_names() -> HashSet<&'static str> {
    offsets::structs()
        .chain(offsets::ENUMS.iter().copied())
        .chain(support::FUNCTIONS.iter().copied())
        .chain(support::TYPES.iter().copied())
        .chain(gfp::STRUCTS.iter().copied())
        .collect()
}
