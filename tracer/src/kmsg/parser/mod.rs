//! Parses the lines of a kernel log. Pure and total: it accepts any bytes, in bounded memory.
//!
//! `text` cuts lines, `record` takes off their prefixes, `reader` assigns each record to an
//! invocation, and `block` keeps the data of one invocation. Each of the others parses one kind of
//! line.

pub(super) mod block;
pub(super) mod bytes;
mod date;
pub(super) mod kill;
pub(super) mod lines;
pub(super) mod memcg;
pub(super) mod meminfo;
pub(super) mod reader;
mod record;
pub(super) mod tasks;
pub(super) mod text;
