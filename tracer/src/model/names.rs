//! Names that userspace finds for addresses, and paths and frames that contain names.

use serde::{Deserialize, Serialize};

use super::{
    events::{self, UserFrame},
    lru::ByteSize,
    report::Frame,
};

/// Longer names of functions are cut. The kernel's own end there too (`KSYM_NAME_LEN`).
pub(crate) const MAX_SYMBOL_BYTES: usize = 512;
/// Longer paths are cut: `PATH_MAX`.
pub(crate) const MAX_PATH_BYTES: usize = 4096;

/// The start of a text, of at most this many bytes. No character is split.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default()
}

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

impl ByteSize for Symbol {
    fn byte_size(&self) -> usize {
        let Self { name, offset, module } = self;
        name.byte_size() + offset.byte_size() + module.byte_size()
    }
}

impl ByteSize for FileOffset {
    fn byte_size(&self) -> usize {
        let Self { build_id, file_offset } = self;
        build_id.byte_size() + file_offset.byte_size()
    }
}

impl ByteSize for Name {
    fn byte_size(&self) -> usize {
        let Self { symbol, offset, file } = self;
        symbol.byte_size() + offset.byte_size() + file.byte_size()
    }
}

impl ByteSize for UserNames {
    fn byte_size(&self) -> usize {
        self.offsets.byte_size() + self.addresses.byte_size()
    }
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

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cut_text_has_no_split_character() {
        assert_eq!(["", "a", "ab", "abä"].map(|text| cut(text, 3)), ["", "a", "ab", "ab"]);
        assert_eq!((cut("abc", 3), cut("ää", 4), cut("ä", 1)), ("abc", "ää", ""));
    }
}
