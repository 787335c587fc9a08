//! A frame of a stack, kernel or user.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One frame, innermost first in its stack; as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// Address, hex with 0x; a string because it can pass 2^53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Bytes from the function's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Kernel module (kernel frames; absent for the kernel proper).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Executable or library (user frames).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file's GNU build id, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Offset in the file, for symbolizing elsewhere. Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_offset: Option<u64>,
}
