//! Names that userspace finds for addresses, and paths and frames that contain names.

use serde::{Deserialize, Serialize};

use super::{
    events::{self, UserFrame},
    report::Frame,
};

/// A resolved kernel address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// The function's name, as kallsyms has it.
    pub name: String,
    /// Bytes from the start of the function.
    pub offset: u64,
    /// The module, for functions outside the kernel image.
    pub module: Option<String>,
}

/// An offset in a file that is identified by its build id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileOffset {
    /// GNU build id, hex.
    pub build_id: String,
    /// Offset in the file, bytes.
    pub file_offset: u64,
}

/// The name of a file offset or of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The function, demangled; `None` if the file is stripped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Bytes from the start of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The file, by the path that its process uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Names of a process' frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNames {
    /// Names of offsets in files.
    #[serde(rename = "places")]
    pub offsets: Vec<(FileOffset, Name)>,
    /// Names of addresses outside any known file.
    pub addresses: Vec<(u64, Name)>,
}

/// The path of a cgroup, from its names below the root: "/" for the root itself.
pub(crate) fn cgroup_path(names: &[events::Name]) -> Vec<u8> {
    if names.is_empty() { b"/".to_vec() } else { joined_path(names) }
}

/// Each name behind a "/"; nothing for no names.
pub(crate) fn joined_path(names: &[events::Name]) -> Vec<u8> {
    names.iter().flat_map(|name| [b"/".as_slice(), &name.0]).flatten().copied().collect()
}

/// A frame whose name has not been looked up.
pub(crate) fn unnamed(frame: &UserFrame) -> Frame {
    named_frame(None, frame)
}

pub(crate) fn named_frame(names: Option<&UserNames>, frame: &UserFrame) -> Frame {
    let (name, location) = match frame {
        UserFrame::File { build_id, file_offset } => {
            let is_same = |(at, _): &&(FileOffset, Name)| {
                at.build_id == *build_id && at.file_offset == *file_offset
            };
            let found = names.and_then(|names| names.offsets.iter().find(is_same));
            let location = Frame {
                build_id: Some(build_id.clone()),
                file_offset: Some(*file_offset),
                ..Frame::default()
            };
            (found.map(|(_, name)| name), location)
        }
        UserFrame::Ip { ip } => {
            let found = names.and_then(|names| names.addresses.iter().find(|(it, _)| it == ip));
            let location = Frame { ip: Some(format!("{ip:#x}")), ..Frame::default() };
            (found.map(|(_, name)| name), location)
        }
    };
    let Name { symbol, offset, file } = name.cloned().unwrap_or_default();
    Frame { symbol, offset, file, ..location }
}
