//! Who a process is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;

/// Who a process is, as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// Name of its user, by this host's /etc/passwd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Command line; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// The bytes of each argument in hex, when one of them is not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_hex: Option<Vec<String>>,
    /// The command line goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cmdline_truncated: bool,
    /// Executable, in its own mount namespace; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The path's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_hex: Option<String>,
    /// The path has more levels above than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exe_truncated: bool,
    /// When it was started, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_time: Option<Timestamp>,
    /// How long it had run when the invocation began, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<u64>,
    /// Its ancestors, nearest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<Parent>>,
}

/// An ancestor of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// Process (tgid), host pid namespace.
    pub pid: i32,
    /// Name; untrusted.
    pub comm: String,
    /// The name's bytes in hex, when they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
}
