//! Walks the types and strings of a BTF file. Only one chunk of it is in memory at a time.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// The kernel returns at most a page per read, so longer chunks save little. A chunk is longer than
/// any name, and shorter than malloc's threshold for a separate mapping, which rises permanently
/// when such a mapping is freed.
const CHUNK_BYTES: usize = 16 * 1024;

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 24;
/// Each type begins with three words: name, info, and a size or the id of another type.
pub(super) const HEAD_BYTES: usize = 12;
const WORD_BYTES: usize = size_of::<u32>();

/// Why a file is not usable BTF.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error("this is not BTF of version {VERSION} in this machine's byte order")]
    NotBtf,
    /// A section, type or string extends beyond the end.
    #[error("it is cut off or damaged at byte {0}")]
    Cut(u64),
    #[error("type {id} has the unknown kind {kind}: a newer oomwhy may know it")]
    UnknownKind {
        id: u32,
        /// A number that is none of the constants `BTF_KIND_*`.
        kind: u32,
    },
    /// btf-rs cannot parse the copied types.
    #[error(transparent)]
    Picked(#[from] btf_rs::Error),
    /// A type refers to one that does not exist or has the wrong kind.
    #[error("type {0} is missing or is not what it is used as")]
    Type(u32),
}

/// The constants `BTF_KIND_*` of include/uapi/linux/btf.h.
pub(super) mod kind {
    pub(in crate::host::btf) const INT: u32 = 1;
    pub(in crate::host::btf) const PTR: u32 = 2;
    pub(in crate::host::btf) const ARRAY: u32 = 3;
    pub(in crate::host::btf) const STRUCT: u32 = 4;
    pub(in crate::host::btf) const UNION: u32 = 5;
    pub(in crate::host::btf) const ENUM: u32 = 6;
    pub(in crate::host::btf) const FWD: u32 = 7;
    pub(in crate::host::btf) const TYPEDEF: u32 = 8;
    pub(in crate::host::btf) const VOLATILE: u32 = 9;
    pub(in crate::host::btf) const CONST: u32 = 10;
    pub(in crate::host::btf) const RESTRICT: u32 = 11;
    pub(in crate::host::btf) const FUNC: u32 = 12;
    pub(in crate::host::btf) const FUNC_PROTO: u32 = 13;
    pub(in crate::host::btf) const VAR: u32 = 14;
    pub(in crate::host::btf) const DATASEC: u32 = 15;
    pub(in crate::host::btf) const FLOAT: u32 = 16;
    pub(in crate::host::btf) const DECL_TAG: u32 = 17;
    pub(in crate::host::btf) const TYPE_TAG: u32 = 18;
    pub(in crate::host::btf) const ENUM64: u32 = 19;
}

/// The first three words of a type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// The offset of its name in the strings; 0 for none.
    pub(super) name: u32,
    /// Kind, number of parts, and a flag.
    pub(super) info: u32,
    /// The id of another type, or the size of a struct, enum or number.
    pub(super) points_at: u32,
}

/// A type with the words after its head.
#[derive(Clone, Debug, Default)]
pub(super) struct Type {
    pub(super) head: Head,
    pub(super) extra: Vec<u32>,
}

impl Head {
    pub(super) fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    /// The number of bytes after the head; `None` for an unknown kind.
    fn extra_bytes(self) -> Option<usize> {
        let parts = usize::try_from(self.info & 0xffff).ok()?;
        let words = match self.kind() {
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind::INT | kind::VAR | kind::DECL_TAG => 1,
            kind::ARRAY => 3,
            kind::ENUM | kind::FUNC_PROTO => 2 * parts,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * parts,
            _ => return None,
        };
        Some(words * WORD_BYTES)
    }

    /// Sets the number of parts that this number of words after the head has.
    pub(super) fn set_parts(&mut self, words: usize) {
        let parts = match self.kind() {
            kind::STRUCT | kind::UNION => words / 3,
            kind::ENUM | kind::FUNC_PROTO => words / 2,
            _ => 0,
        };
        let parts = u32::from(u16::try_from(parts).unwrap_or(u16::MAX));
        self.info = self.info & 0xffff_0000 | parts;
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = words(bytes);
        Some(Self { name: words.next()?, info: words.next()?, points_at: words.next()? })
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word))
}

/// A BTF file with the ranges of its sections.
pub(super) struct Raw<R> {
    window: Window<R>,
    types: Range<u64>,
    strings: Range<u64>,
}

impl<R: Read + Seek> Raw<R> {
    pub(super) fn open(source: R) -> Result<Self, Damage> {
        let mut window = Window { source, start: 0, bytes: Vec::with_capacity(CHUNK_BYTES) };
        let header = window.get(0, HEADER_BYTES).map_err(|damage| match damage {
            Damage::Cut(_) => Damage::NotBtf,
            damage => damage,
        })?;
        let [magic_low, magic_high, version, ..] = *header else {
            return Err(Damage::NotBtf);
        };
        if u16::from_ne_bytes([magic_low, magic_high]) != MAGIC || version != VERSION {
            return Err(Damage::NotBtf);
        }
        let fields: Vec<u64> = words(header).skip(1).map(u64::from).collect();
        let [header_len, type_off, type_len, str_off, str_len] = *fields else {
            return Err(Damage::NotBtf);
        };
        let section = |offset: u64, len: u64| header_len + offset..header_len + offset + len;
        Ok(Self { window, types: section(type_off, type_len), strings: section(str_off, str_len) })
    }

    /// Calls `see` with every string and its offset, in order.
    pub(super) fn each_string(&mut self, mut see: impl FnMut(u32, &[u8])) -> Result<(), Damage> {
        let Range { start, end } = self.strings;
        let mut at = start;
        while at < end {
            let bytes = self.window.all(at, end)?;
            // A string that is not whole begins the next chunk; none is as long as a chunk.
            let last = bytes.iter().rposition(|byte| *byte == 0);
            let whole = last.and_then(|last| bytes.get(..last)).ok_or(Damage::Cut(at))?;
            for text in whole.split(|byte| *byte == 0) {
                see(u32::try_from(at - start).unwrap_or(u32::MAX), text);
                at += text.len() as u64 + 1;
            }
        }
        Ok(())
    }

    /// Calls `see` with the head of every type, its id and its position, in order.
    pub(super) fn each_head(&mut self, mut see: impl FnMut(u32, u64, Head)) -> Result<(), Damage> {
        let Range { start, end } = self.types;
        let mut at = start;
        // Id 0 is void.
        for id in 1.. {
            if at >= end {
                break;
            }
            let (head, next) = self.head(id, at)?;
            see(id, at, head);
            at = next;
        }
        Ok(())
    }

    /// The type with this id, which begins at this position.
    pub(super) fn read(&mut self, id: u32, at: u64) -> Result<Type, Damage> {
        let (head, next) = self.head(id, at)?;
        let after_head = at + HEAD_BYTES as u64;
        let len = usize::try_from(next - after_head).map_err(|_| Damage::Cut(after_head))?;
        let extra = words(self.window.get(after_head, len)?).collect();
        Ok(Type { head, extra })
    }

    /// The type `steps` after the one at this position.
    pub(super) fn read_after(&mut self, id: u32, mut at: u64, steps: u32) -> Result<Type, Damage> {
        for step in 0..steps {
            (_, at) = self.head(id + step, at)?;
        }
        if at >= self.types.end {
            return Err(Damage::Type(id + steps));
        }
        self.read(id + steps, at)
    }

    /// The head at a position, and the position of the next type.
    fn head(&mut self, id: u32, at: u64) -> Result<(Head, u64), Damage> {
        let bytes = self.window.get(at, HEAD_BYTES)?;
        let head = Head::read(bytes).ok_or(Damage::Cut(at))?;
        let kind = head.kind();
        let extra = head.extra_bytes().ok_or(Damage::UnknownKind { id, kind })?;
        Ok((head, at + (HEAD_BYTES + extra) as u64))
    }
}

/// The part of the file that is in memory.
struct Window<R> {
    source: R,
    /// The position of its first byte.
    start: u64,
    bytes: Vec<u8>,
}

impl<R: Read + Seek> Window<R> {
    /// `len` bytes from position `at`.
    fn get(&mut self, at: u64, len: usize) -> Result<&[u8], Damage> {
        let mut range = self.range(at, len);
        if range.end > self.bytes.len() {
            self.refill(at, len)?;
            range = 0..len;
        }
        self.bytes.get(range).ok_or(Damage::Cut(at))
    }

    /// A chunk from position `at`, up to `end` at most.
    fn all(&mut self, at: u64, end: u64) -> Result<&[u8], Damage> {
        self.refill(at, CHUNK_BYTES)?;
        let rest = usize::try_from(end - at).unwrap_or(usize::MAX);
        let len = self.bytes.len().min(rest);
        self.bytes.get(..len).ok_or(Damage::Cut(at))
    }

    /// The index of position `at` in the chunk; beyond its end if it is not in memory.
    fn range(&self, at: u64, len: usize) -> Range<usize> {
        at.checked_sub(self.start)
            .and_then(|start| usize::try_from(start).ok())
            .and_then(|start| Some(start..start.checked_add(len)?))
            .unwrap_or(0..usize::MAX)
    }

    fn refill(&mut self, at: u64, len: usize) -> Result<(), Damage> {
        self.bytes.clear();
        self.start = at;
        self.source.seek(SeekFrom::Start(at))?;
        self.source.by_ref().take(len.max(CHUNK_BYTES) as u64).read_to_end(&mut self.bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
