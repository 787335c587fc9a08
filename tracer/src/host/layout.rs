//! Follows a path such as `signal_struct.pids[PIDTYPE_TGID]` through the kernel's BTF to an
//! offset. Which paths are followed is [`super::offsets`]' business.

use btf_rs::{BtfType, Member, Struct, Type};

use super::btf::KernelBtf;

/// Deepest nesting of anonymous structs and unions that is searched.
const MAX_NESTING: u32 = 16;
/// Size of a kernel pointer: BPF trampolines and ours are 64-bit only.
const POINTER_BYTES: u64 = 8;

/// Enumerators for kernels whose BTF lacks them: pahole keeps an enum only where debug info uses
/// it. Only values that no kernel configuration changes stand here.
const ENUMERATORS: &[(&str, u32)] = &[
    // https://github.com/torvalds/linux/blob/v5.10/include/linux/mm_types_task.h
    ("MM_FILEPAGES", 0),
    ("MM_ANONPAGES", 1),
    ("MM_SWAPENTS", 2),
    ("MM_SHMEMPAGES", 3),
    // https://github.com/torvalds/linux/blob/v5.10/include/linux/pid.h
    ("PIDTYPE_TGID", 1),
];

/// A place inside a struct.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    /// Bytes of the type found there; 0 for a flexible array.
    pub size: u64,
}

/// Why a path leads nowhere on this kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Nowhere {
    /// The struct is not in the BTF.
    #[error("no struct {0}")]
    Struct(String),
    /// The struct has no such member.
    #[error("no member {member} in {parent}")]
    Member {
        /// Path up to the struct.
        parent: String,
        /// What was looked for.
        member: String,
    },
    /// Part of a path that should be a struct, or should be an array, is not.
    #[error("{0} is not {1}")]
    Kind(String, &'static str),
    /// An index that is neither a number nor an enumerator.
    #[error("no enumerator {0}")]
    Enumerator(String),
    /// An index behind the end.
    #[error("index {index} is behind the end of {parent}")]
    Index {
        /// Path up to the array.
        parent: String,
        /// The index.
        index: u32,
    },
    /// A bit field: no byte offset, no plain load.
    #[error("{0} is a bit field")]
    BitField(String),
    /// Not the size that the probes load.
    #[error("{path} has {size} bytes, not {expected}")]
    Size {
        /// The whole path.
        path: String,
        /// Size in BTF.
        size: u64,
        /// Size that is loaded.
        expected: String,
    },
    /// The BTF contradicts itself.
    #[error("unusable BTF at {0}")]
    Damaged(String),
}

/// A member of a struct or of an anonymous one in it.
struct Found {
    bits: u32,
    id: u32,
    is_bit_field: bool,
}

impl KernelBtf {
    /// Size of a struct.
    pub(crate) fn size_of(&self, name: &str) -> Result<u32, Nowhere> {
        let id = self.structs(name).first().ok_or_else(|| Nowhere::Struct(name.to_owned()))?;
        let size = self.size(*id).ok_or_else(|| Nowhere::Damaged(name.to_owned()))?;
        u32::try_from(size).map_err(|_| Nowhere::Damaged(name.to_owned()))
    }

    /// Where `struct.member`, `struct.member[INDEX].member`... is.
    pub(crate) fn place(&self, path: &str) -> Result<Place, Nowhere> {
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut why = Nowhere::Struct(root.to_owned());
        // Where several structs share a name, the one that has the members is meant.
        for id in self.structs(root) {
            match self.walk(*id, root, rest) {
                Ok(place) => return Ok(place),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn walk(&self, root: u32, name: &str, steps: &str) -> Result<Place, Nowhere> {
        let mut walked = name.to_owned();
        let (mut bits, mut id) = (0_u32, root);
        for step in steps.split('.') {
            let (member, index) = split_index(step);
            let found = self.member(id, &walked, member)?;
            walked = format!("{walked}.{member}");
            if found.is_bit_field || !found.bits.is_multiple_of(8) {
                return Err(Nowhere::BitField(walked));
            }
            (bits, id) = (add(bits, found.bits, &walked)?, found.id);
            if let Some(index) = index {
                let (element_bits, element) = self.element(id, &walked, index)?;
                walked = format!("{walked}[{index}]");
                (bits, id) = (add(bits, element_bits, &walked)?, element);
            }
        }
        let size = self.size(id).ok_or(Nowhere::Damaged(walked))?;
        Ok(Place { offset: bits / 8, size })
    }

    /// Finds a member, also one of an anonymous struct or union inside.
    fn member(&self, id: u32, parent: &str, name: &str) -> Result<Found, Nowhere> {
        let Some(Type::Struct(inside) | Type::Union(inside)) = self.plain(id) else {
            return Err(Nowhere::Kind(parent.to_owned(), "a struct"));
        };
        self.search(&inside, name, MAX_NESTING)
            .ok_or_else(|| Nowhere::Member { parent: parent.to_owned(), member: name.to_owned() })
    }

    fn search(&self, inside: &Struct, name: &str, nesting: u32) -> Option<Found> {
        inside.members.iter().find_map(|member| {
            let own = self.name(member);
            if own == name {
                return Some(Found {
                    bits: member.bit_offset(),
                    id: member.get_type_id()?,
                    is_bit_field: member.bitfield_size().is_some_and(|bits| bits > 0),
                });
            }
            if own.is_empty() && nesting > 0 { self.descend(member, name, nesting) } else { None }
        })
    }

    fn descend(&self, member: &Member, name: &str, nesting: u32) -> Option<Found> {
        let (Type::Struct(inside) | Type::Union(inside)) = self.plain(member.get_type_id()?)?
        else {
            return None;
        };
        let found = self.search(&inside, name, nesting - 1)?;
        Some(Found { bits: found.bits.checked_add(member.bit_offset())?, ..found })
    }

    /// Bits up to an element of an array, and the element's type.
    fn element(&self, id: u32, parent: &str, index: &str) -> Result<(u32, u32), Nowhere> {
        let Some(Type::Array(array)) = self.plain(id) else {
            return Err(Nowhere::Kind(parent.to_owned(), "an array"));
        };
        let damaged = || Nowhere::Damaged(parent.to_owned());
        let element = array.get_type_id().ok_or_else(damaged)?;
        let index = self.index_value(index)?;
        // A length of 0 is a flexible array: the kernel alone knows its end.
        if array.len() > 0 && index as usize >= array.len() {
            return Err(Nowhere::Index { parent: parent.to_owned(), index });
        }
        let bits = self
            .size(element)
            .and_then(|size| size.checked_mul(u64::from(index))?.checked_mul(8))
            .and_then(|bits| u32::try_from(bits).ok());
        Ok((bits.ok_or_else(damaged)?, element))
    }

    fn index_value(&self, text: &str) -> Result<u32, Nowhere> {
        text.parse()
            .ok()
            .or_else(|| self.enumerator(text))
            .or_else(|| Some(ENUMERATORS.iter().find(|(name, _)| *name == text)?.1))
            .ok_or_else(|| Nowhere::Enumerator(text.to_owned()))
    }

    /// Bytes of a type; `None` where it has no size.
    fn size(&self, id: u32) -> Option<u64> {
        let mut count = 1_u64;
        let mut plain = self.plain(id)?;
        for _ in 0..MAX_NESTING {
            let size = match plain {
                Type::Array(array) => {
                    count = count.checked_mul(u64::try_from(array.len()).ok()?)?;
                    plain = self.plain(array.get_type_id()?)?;
                    continue;
                }
                Type::Ptr(_) => POINTER_BYTES,
                Type::Int(int) => u64::try_from(int.size()).ok()?,
                Type::Enum(inside) => u64::try_from(inside.size()).ok()?,
                Type::Enum64(inside) => u64::try_from(inside.size()).ok()?,
                Type::Struct(inside) | Type::Union(inside) => u64::try_from(inside.size()).ok()?,
                _ => return None,
            };
            return count.checked_mul(size);
        }
        None
    }
}

/// `pids[PIDTYPE_TGID]` into its name and index.
fn split_index(step: &str) -> (&str, Option<&str>) {
    match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
        Some((member, index)) => (member, Some(index)),
        None => (step, None),
    }
}

fn add(bits: u32, more: u32, walked: &str) -> Result<u32, Nowhere> {
    bits.checked_add(more).ok_or_else(|| Nowhere::Damaged(walked.to_owned()))
}
