//! Exit codes: what scripts and service managers decide by.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; also after SIGINT, SIGTERM and a closed pipe.
    Ok = 0,
    /// Failed, or nothing matched.
    Failure = 1,
    /// Wrong usage.
    Usage = 2,
    /// The kernel lacks what is needed (EX_UNAVAILABLE).
    Unavailable = 69,
    /// Not permitted (EX_NOPERM).
    NotPermitted = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
