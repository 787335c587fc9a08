//! Files of /proc that are read while oomwhy runs.

pub(crate) mod file;
pub(crate) mod kill_counter;
pub(crate) mod process;
pub(crate) mod system;
