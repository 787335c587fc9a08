//! The readers of foreign bytes. Each is the body of the fuzz target with its name.

pub mod readers;
pub mod terminal;
