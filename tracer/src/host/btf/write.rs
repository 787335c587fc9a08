//! Writes the picked types as BTF that the kernel and aya can load.

use super::{
    index::WantedStrings,
    raw::{HEADER_BYTES, MAGIC, Type, VERSION},
};

/// BTF with these types, the first of which has id 1, and with all `names`.
pub(super) fn btf(types: &[Type], names: &WantedStrings) -> Vec<u8> {
    let mut section = Vec::new();
    for Type { head, extra } in types {
        let head = [head.name, head.info, head.points_at];
        let words = head.iter().chain(extra);
        section.extend(words.flat_map(|word| word.to_ne_bytes()));
    }
    let mut bytes = header(section.len(), strings(names.texts()).len());
    bytes.extend(section);
    bytes.extend(strings(names.texts()));
    bytes
}

/// The strings of BTF; the first one is empty.
pub(super) fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut strings = vec![0];
    for text in texts {
        strings.extend(text.as_bytes());
        strings.push(0);
    }
    strings
}

/// The header, if the strings follow the types.
pub(super) fn header(types_len: usize, strings_len: usize) -> Vec<u8> {
    let word = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes();
    let mut header = MAGIC.to_ne_bytes().to_vec();
    // No flags.
    header.extend([VERSION, 0]);
    for len in [HEADER_BYTES, 0, types_len, types_len, strings_len] {
        header.extend(word(len));
    }
    header
}
