//! The exit codes, on which scripts and service managers rely.

use std::process::ExitCode;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success, also after a stop signal and a closed pipe.
    Ok = 0,
    /// The command failed, or nothing matched.
    Failure = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The kernel does not have a required feature (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A permission is missing (EX_NOPERM).
    NotPermitted = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
