//! Names of addresses: functions of the kernel and of programs.

mod demangle;
pub(crate) mod helper_process;
pub(crate) mod kernel;
pub(crate) mod user;
