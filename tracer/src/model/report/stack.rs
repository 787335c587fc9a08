//! A frame of a kernel or user stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A frame of a stack. Unknown parts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// The address, hex with 0x. It is a string because it can exceed 2^53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The name of the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The offset from the start of the function, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The kernel module; absent for user frames and for the kernel itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The executable or library of a user frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The GNU build id of the file, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The offset in the file, bytes, with which `oomwhy symbolize` finds the name later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_offset: Option<u64>,
}
