//! What people and other tools read: short text, JSON, the long answer and flame graphs. An output
//! shows what is in a record. It looks nothing up and decides nothing.

pub(crate) mod explain;
pub(crate) mod flame;
pub(crate) mod json;
pub(crate) mod store;
pub(crate) mod text;

#[cfg(test)]
pub(crate) mod fixtures;
