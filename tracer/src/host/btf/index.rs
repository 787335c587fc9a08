//! Finds the wanted names and types in the kernel's BTF.

use std::io::{Read, Seek};

use super::raw::{Damage, Head, Raw, Type, kind};
use crate::host::{facts::WantedHook, is_wanted_prefix, wanted_members, wanted_names};

/// The position of every 32nd type is kept. The others are reached by walking from there.
const STRIDE: u32 = 32;

struct Name {
    offset: u32,
    text: String,
    /// Whether it is the name of a type, not only of a member.
    is_root: bool,
}

/// The wanted strings, by offset.
pub(super) struct WantedStrings(Vec<Name>);

impl WantedStrings {
    pub(super) fn scan<R: Read + Seek>(
        raw: &mut Raw<R>,
        hooks: &[WantedHook],
    ) -> Result<Self, Damage> {
        let roots = wanted_names(hooks);
        let members = wanted_members().map(|member| -> &str { member });
        let wanted: Vec<&str> = members.chain(roots.iter().map(String::as_str)).collect();
        let by_length = ByLength::new(&wanted);
        let mut names = Vec::new();
        raw.each_string(|offset, bytes| {
            if (by_length.has(bytes) || is_wanted_prefix(bytes))
                && let Ok(text) = str::from_utf8(bytes)
            {
                names.push(Name { offset, text: text.to_owned(), is_root: roots.contains(text) });
            }
        })?;
        Ok(Self(names))
    }

    fn get(&self, offset: u32) -> Option<&Name> {
        let at = self.0.binary_search_by_key(&offset, |name| name.offset);
        self.0.get(at.ok()?)
    }

    /// The wanted string at an offset.
    pub(super) fn text(&self, offset: u32) -> Option<&str> {
        Some(self.get(offset)?.text.as_str())
    }

    pub(super) fn is_root(&self, offset: u32) -> bool {
        self.get(offset).is_some_and(|name| name.is_root)
    }

    /// The offset of a string in a section that has only the wanted strings, after an empty one;
    /// 0 if the string is not wanted.
    pub(super) fn kept(&self, offset: u32) -> u32 {
        let mut kept = 1;
        for name in &self.0 {
            if name.offset == offset {
                return u32::try_from(kept).unwrap_or_default();
            }
            kept += name.text.len() + 1;
        }
        0
    }

    /// All, in that order.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| name.text.as_str())
    }
}

/// The wanted names by length. Length and first byte already exclude nearly all of the kernel's
/// 100,000 names.
struct ByLength<'a>(Vec<Vec<&'a [u8]>>);

impl<'a> ByLength<'a> {
    fn new(names: &[&'a str]) -> Self {
        let mut by_length: Vec<Vec<&[u8]>> = Vec::new();
        for name in names.iter().map(|name| name.as_bytes()) {
            if by_length.len() <= name.len() {
                by_length.resize(name.len() + 1, Vec::new());
            }
            if let Some(names) = by_length.get_mut(name.len()) {
                names.push(name);
            }
        }
        Self(by_length)
    }

    fn has(&self, bytes: &[u8]) -> bool {
        let Some(names) = self.0.get(bytes.len()) else {
            return false;
        };
        names.iter().any(|name| name.first() == bytes.first() && *name == bytes)
    }
}

/// A type that is wanted by name.
pub(super) struct Root {
    pub(super) id: u32,
    pub(super) at: u64,
    pub(super) head: Head,
}

pub(super) struct Index {
    positions: Vec<u64>,
    pub(super) roots: Vec<Root>,
}

impl Index {
    pub(super) fn scan<R: Read + Seek>(
        raw: &mut Raw<R>,
        names: &WantedStrings,
    ) -> Result<Self, Damage> {
        let (mut positions, mut roots) = (Vec::new(), Vec::new());
        raw.each_head(|id, at, head| {
            if (id - 1).is_multiple_of(STRIDE) {
                positions.push(at);
            }
            let is_root = match head.kind() {
                kind::STRUCT | kind::UNION | kind::FUNC | kind::TYPEDEF => names.is_root(head.name),
                kind::ENUM => head.name == 0 || names.is_root(head.name),
                _ => false,
            };
            if is_root {
                roots.push(Root { id, at, head });
            }
        })?;
        Ok(Self { positions, roots })
    }

    pub(super) fn read<R: Read + Seek>(&self, raw: &mut Raw<R>, id: u32) -> Result<Type, Damage> {
        let before = id.checked_sub(1).ok_or(Damage::Type(id))?;
        let slot = usize::try_from(before / STRIDE).map_err(|_| Damage::Type(id))?;
        let at = *self.positions.get(slot).ok_or(Damage::Type(id))?;
        let steps = before % STRIDE;
        raw.read_after(id - steps, at, steps)
    }
}
