//! One file per verb.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod ci;
pub(crate) mod containers;
pub(crate) mod demo;
pub(crate) mod fixtures;
pub(crate) mod fuzz;
pub(crate) mod kernels;
pub(crate) mod kernels_doc;
pub(crate) mod proof;
pub(crate) mod test;
pub(crate) mod vm;
