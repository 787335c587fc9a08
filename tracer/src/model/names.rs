//! Names that userspace finds for addresses, and the frames that are made of them.

use serde::{Deserialize, Serialize};

use super::{
    events::{self, UserFrame},
    report::Frame,
};

/// A resolved kernel address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// Function.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
    /// Module, for functions outside the kernel proper.
    pub module: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileOffset {
    /// GNU build id, hex.
    pub build_id: String,
    /// Offset in the file, bytes.
    pub file_offset: u64,
}

/// What a place or an address is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Function, demangled; `None` where the file is stripped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Bytes from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The file, as its process names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Names of a process' frames: of places, and of addresses that are in no known file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNames {
    /// Places.
    pub places: Vec<(FileOffset, Name)>,
    /// Addresses.
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

/// A frame as it is known before anybody has looked for its name.
pub(crate) fn unnamed(frame: &UserFrame) -> Frame {
    named_frame(None, frame)
}

pub(crate) fn named_frame(names: Option<&UserNames>, frame: &UserFrame) -> Frame {
    let (name, place) = match frame {
        UserFrame::File { build_id, file_offset } => {
            let is_it = |(place, _): &&(FileOffset, Name)| {
                place.build_id == *build_id && place.file_offset == *file_offset
            };
            let name = names.and_then(|names| names.places.iter().find(is_it));
            let place = Frame {
                build_id: Some(build_id.clone()),
                file_offset: Some(*file_offset),
                ..Frame::default()
            };
            (name.map(|(_, name)| name), place)
        }
        UserFrame::Ip { ip } => {
            let name = names.and_then(|names| names.addresses.iter().find(|(it, _)| it == ip));
            let place = Frame { ip: Some(format!("{ip:#x}")), ..Frame::default() };
            (name.map(|(_, name)| name), place)
        }
    };
    let Name { symbol, offset, file } = name.cloned().unwrap_or_default();
    Frame { symbol, offset, file, ..place }
}
