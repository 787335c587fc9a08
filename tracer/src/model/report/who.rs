//! The identity of a process.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;

/// The identity of a process. Unknown parts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// The name of its user, from the /etc/passwd of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The command line, one element per argument; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// The bytes of each argument in hex, if one of them is not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_hex: Option<Vec<String>>,
    /// True if the command line is longer than the recorded part.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cmdline_truncated: bool,
    /// The path of the executable in the mount namespace of the process; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The bytes of that path in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_hex: Option<String>,
    /// True if levels are missing at the start of the path, because it has more than were recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exe_truncated: bool,
    /// When the process started, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_time: Option<Timestamp>,
    /// The age of the process at the start of the invocation, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<u64>,
    /// The ancestors of the process, nearest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<Parent>>,
}

/// An ancestor of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// Process id (tgid) in the host's pid namespace.
    pub pid: i32,
    /// The name of the task; untrusted.
    pub comm: String,
    /// The bytes of the name in hex, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
}
