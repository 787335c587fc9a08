//! Resolves a path such as `signal_struct.pids[PIDTYPE_TGID]` through the kernel's BTF to an
//! offset. The paths are in [`super::offsets`].

use btf_rs::{BtfType, Member, Struct, Type};

use super::btf::KernelBtf;

/// Deepest nesting of anonymous structs and unions that is searched.
const MAX_NESTING: u32 = 16;
/// Supported kernels are 64-bit only.
const POINTER_BYTES: u64 = 8;

/// Enumerators that the BTF of some kernels does not have, because pahole keeps an enum only if
/// debug info uses it. No kernel configuration changes these values.
const ENUMERATORS: &[(&str, u32)] = &[
    // https://github.com/torvalds/linux/blob/v5.10/include/linux/mm_types_task.h
    ("MM_FILEPAGES", 0),
    ("MM_ANONPAGES", 1),
    ("MM_SWAPENTS", 2),
    ("MM_SHMEMPAGES", 3),
    // https://github.com/torvalds/linux/blob/v5.10/include/linux/pid.h
    ("PIDTYPE_TGID", 1),
];

/// Where a field is inside a struct.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FieldLocation {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    /// Bytes of its type; 0 for a flexible array.
    pub size: u64,
}

/// Why a path cannot be resolved on this kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("no struct {0}")]
    Struct(String),
    #[error("no member {member} in {parent}")]
    Member {
        /// The path up to the struct.
        parent: String,
        member: String,
    },
    /// A part of the path is not a struct or not an array.
    #[error("{0} is not {1}")]
    Kind(String, &'static str),
    /// An index is neither a number nor an enumerator.
    #[error("no enumerator {0}")]
    Enumerator(String),
    #[error("index {index} is behind the end of {parent}")]
    Index {
        /// The path up to the array.
        parent: String,
        index: u32,
    },
    /// A bit field has no byte offset and cannot be loaded.
    #[error("{0} is a bit field")]
    BitField(String),
    /// The probes load another size.
    #[error("{path} has {size} bytes, not {expected}")]
    Size {
        path: String,
        /// The size in BTF, bytes.
        size: u64,
        /// The size that is loaded, bytes.
        expected: String,
    },
    /// The BTF contradicts itself.
    #[error("unusable BTF at {0}")]
    Damaged(String),
}

/// A member of a struct, or of an anonymous struct in it.
struct FoundMember {
    bits: u32,
    id: u32,
    is_bit_field: bool,
}

impl KernelBtf {
    /// Bytes of a struct.
    pub(crate) fn size_of(&self, name: &str) -> Result<u32, LayoutError> {
        let id = self.structs(name).first().ok_or_else(|| LayoutError::Struct(name.to_owned()))?;
        let size = self.size(*id).ok_or_else(|| LayoutError::Damaged(name.to_owned()))?;
        u32::try_from(size).map_err(|_| LayoutError::Damaged(name.to_owned()))
    }

    /// Resolves `struct.member`, `struct.member[INDEX].member` and so on.
    pub(crate) fn locate(&self, path: &str) -> Result<FieldLocation, LayoutError> {
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut why = LayoutError::Struct(root.to_owned());
        // If several structs have this name, the one that has the members is meant.
        for id in self.structs(root) {
            match self.walk(*id, root, rest) {
                Ok(location) => return Ok(location),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn walk(&self, root: u32, name: &str, steps: &str) -> Result<FieldLocation, LayoutError> {
        let mut walked = name.to_owned();
        let (mut bits, mut id) = (0_u32, root);
        for step in steps.split('.') {
            let (member, index) = split_index(step);
            let found = self.member(id, &walked, member)?;
            walked = format!("{walked}.{member}");
            if found.is_bit_field || !found.bits.is_multiple_of(8) {
                return Err(LayoutError::BitField(walked));
            }
            (bits, id) = (add(bits, found.bits, &walked)?, found.id);
            if let Some(index) = index {
                let (element_bits, element) = self.element(id, &walked, index)?;
                walked = format!("{walked}[{index}]");
                (bits, id) = (add(bits, element_bits, &walked)?, element);
            }
        }
        let size = self.size(id).ok_or(LayoutError::Damaged(walked))?;
        Ok(FieldLocation { offset: bits / 8, size })
    }

    /// Finds a member, also in anonymous structs and unions.
    fn member(&self, id: u32, parent: &str, name: &str) -> Result<FoundMember, LayoutError> {
        let Some(Type::Struct(inside) | Type::Union(inside)) = self.plain(id) else {
            return Err(LayoutError::Kind(parent.to_owned(), "a struct"));
        };
        self.search(&inside, name, MAX_NESTING).ok_or_else(|| LayoutError::Member {
            parent: parent.to_owned(),
            member: name.to_owned(),
        })
    }

    fn search(&self, inside: &Struct, name: &str, nesting: u32) -> Option<FoundMember> {
        inside.members.iter().find_map(|member| {
            let own = self.name(member);
            if own == name {
                return Some(FoundMember {
                    bits: member.bit_offset(),
                    id: member.get_type_id()?,
                    is_bit_field: member.bitfield_size().is_some_and(|bits| bits > 0),
                });
            }
            if own.is_empty() && nesting > 0 { self.descend(member, name, nesting) } else { None }
        })
    }

    fn descend(&self, member: &Member, name: &str, nesting: u32) -> Option<FoundMember> {
        let (Type::Struct(inside) | Type::Union(inside)) = self.plain(member.get_type_id()?)?
        else {
            return None;
        };
        let found = self.search(&inside, name, nesting - 1)?;
        Some(FoundMember { bits: found.bits.checked_add(member.bit_offset())?, ..found })
    }

    /// The bits before an element of an array, and the type of the element.
    fn element(&self, id: u32, parent: &str, index: &str) -> Result<(u32, u32), LayoutError> {
        let Some(Type::Array(array)) = self.plain(id) else {
            return Err(LayoutError::Kind(parent.to_owned(), "an array"));
        };
        let damaged = || LayoutError::Damaged(parent.to_owned());
        let element = array.get_type_id().ok_or_else(damaged)?;
        let index = self.index_value(index)?;
        // A length of 0 is a flexible array, whose end is not in BTF.
        if array.len() > 0 && index as usize >= array.len() {
            return Err(LayoutError::Index { parent: parent.to_owned(), index });
        }
        let bits = self
            .size(element)
            .and_then(|size| size.checked_mul(u64::from(index))?.checked_mul(8))
            .and_then(|bits| u32::try_from(bits).ok());
        Ok((bits.ok_or_else(damaged)?, element))
    }

    fn index_value(&self, text: &str) -> Result<u32, LayoutError> {
        text.parse()
            .ok()
            .or_else(|| self.enumerator(text))
            .or_else(|| Some(ENUMERATORS.iter().find(|(name, _)| *name == text)?.1))
            .ok_or_else(|| LayoutError::Enumerator(text.to_owned()))
    }

    /// Bytes of a type; `None` if it has no size.
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

/// Splits `pids[PIDTYPE_TGID]` into its name and index.
fn split_index(step: &str) -> (&str, Option<&str>) {
    match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
        Some((member, index)) => (member, Some(index)),
        None => (step, None),
    }
}

fn add(bits: u32, more: u32, walked: &str) -> Result<u32, LayoutError> {
    bits.checked_add(more).ok_or_else(|| LayoutError::Damaged(walked.to_owned()))
}
