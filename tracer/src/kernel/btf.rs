//! Opens the kernel's BTF and indexes, in one pass, the few names that oomwhy asks for.
//!
//! One pass, because a look-up by name walks all of the 80,000 to 120,000 types when the BTF is
//! mapped instead of parsed, and parsing it all would cost tens of megabytes on a host that may
//! be short of memory.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use btf_rs::{Backend, Btf, BtfType, Type};
use rustix::fs::MemfdFlags;

use super::wanted_names;

/// Where the kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Longest chain of typedefs and qualifiers that is followed: a damaged file may have a loop.
const MAX_CHAIN: usize = 32;

/// Why there is no BTF to work with.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// No such file.
    #[error(
        "no kernel BTF at {}\nhint: the kernel needs CONFIG_DEBUG_INFO_BTF=y, or give the BTF of \
         this very kernel with --btf FILE",
        path.display()
    )]
    Absent {
        /// The file looked for.
        path: PathBuf,
    },
    /// There, but it cannot be read.
    #[error("cannot read kernel BTF from {}", path.display())]
    Unreadable {
        /// The file that was read.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Could not set memory aside for the copy.
    #[error("cannot copy kernel BTF into memory")]
    Copy(#[source] io::Error),
    /// Not BTF, or damaged.
    #[error("cannot parse kernel BTF from {}", path.display())]
    Unparsable {
        /// The file that was parsed.
        path: PathBuf,
        /// What went wrong.
        source: btf_rs::Error,
    },
}

/// The kernel's types, with an index of the names in `wanted_names`.
pub struct KernelBtf {
    btf: Btf,
    names: Names,
}

/// Type ids by name.
#[derive(Default)]
struct Names {
    /// Structs and unions. Several: unrelated drivers reuse names.
    structs: HashMap<String, Vec<u32>>,
    functions: HashSet<String>,
    typedefs: HashMap<String, u32>,
    /// Of the wanted and of all anonymous enums.
    enumerators: HashMap<String, u32>,
}

impl KernelBtf {
    /// Opens the BTF of the running kernel, or of a file that stands in for it.
    pub fn open(path: &Path) -> Result<Self, BtfError> {
        let unparsable = |source| BtfError::Unparsable {
            path: path.to_owned(),
            source,
        };
        // The copy outlives the descriptor: btf-rs maps it.
        let copy = copy_to_memory(path)?;
        let name = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let btf = Btf::from_file_with_backend(name, Backend::Mmap).map_err(unparsable)?;
        Self::index(btf).map_err(unparsable)
    }

    /// Takes BTF that is in memory already.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BtfError> {
        Btf::from_bytes(bytes)
            .and_then(Self::index)
            .map_err(|source| BtfError::Unparsable {
                path: "(memory)".into(),
                source,
            })
    }

    fn index(btf: Btf) -> Result<Self, btf_rs::Error> {
        let names = Names::scan(&btf)?;
        Ok(Self { btf, names })
    }

    /// Whether a function of this name can be hooked through BTF.
    pub fn has_function(&self, name: &str) -> bool {
        self.names.functions.contains(name)
    }

    /// Value of an enumerator of a wanted or an anonymous enum.
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        self.names.enumerators.get(name).copied()
    }

    /// All indexed enumerators whose name starts like this.
    pub fn enumerators(&self, prefix: &str) -> impl Iterator<Item = (&str, u32)> {
        self.names
            .enumerators
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// Ids of the structs and unions of this name.
    pub(super) fn structs(&self, name: &str) -> &[u32] {
        self.names.structs.get(name).map_or(&[], Vec::as_slice)
    }

    /// The type behind a typedef's name.
    pub(super) fn typedef(&self, name: &str) -> Option<Type> {
        self.plain(*self.names.typedefs.get(name)?)
    }

    /// A type without the typedefs, qualifiers and tags around it.
    pub(super) fn plain(&self, id: u32) -> Option<Type> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            id = match self.btf.resolve_type_by_id(id).ok()? {
                Type::Typedef(inner) => inner.get_type_id()?,
                Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => {
                    inner.get_type_id()?
                }
                Type::TypeTag(inner) => inner.get_type_id()?,
                plain => return Some(plain),
            };
        }
        None
    }

    /// The name of a type or member; empty for an anonymous one.
    pub(super) fn name(&self, of: &dyn BtfType) -> String {
        self.btf.resolve_name(of).unwrap_or_default()
    }
}

impl Names {
    fn scan(btf: &Btf) -> Result<Self, btf_rs::Error> {
        let wanted = wanted_names();
        let mut names = Self::default();
        let (_, last) = btf.base().type_id_range();
        // Id 0 is void.
        for id in 1..=last {
            names.add(btf, &wanted, id, &btf.resolve_type_by_id(id)?)?;
        }
        Ok(names)
    }

    fn add(
        &mut self,
        btf: &Btf,
        wanted: &HashSet<&'static str>,
        id: u32,
        found: &Type,
    ) -> Result<(), btf_rs::Error> {
        let name = match found {
            Type::Struct(inner) | Type::Union(inner) => btf.resolve_name(inner)?,
            Type::Func(inner) => btf.resolve_name(inner)?,
            Type::Typedef(inner) => btf.resolve_name(inner)?,
            Type::Enum(inner) => btf.resolve_name(inner)?,
            _ => return Ok(()),
        };
        let is_wanted = wanted.contains(name.as_str());
        match found {
            Type::Enum(inner) if is_wanted || name.is_empty() => {
                for member in &inner.members {
                    self.enumerators
                        .insert(btf.resolve_name(member)?, member.val());
                }
            }
            _ if !is_wanted => {}
            Type::Struct(_) | Type::Union(_) => self.structs.entry(name).or_default().push(id),
            Type::Func(_) => _ = self.functions.insert(name),
            Type::Typedef(_) => _ = self.typedefs.insert(name, id),
            _ => {}
        }
        Ok(())
    }
}

/// Copies a BTF file into an anonymous one. The kernel's own cannot be mapped (before 6.16), and
/// a plain file that someone truncates while it is mapped would kill us.
fn copy_to_memory(path: &Path) -> Result<File, BtfError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => BtfError::Absent {
            path: path.to_owned(),
        },
        _ => BtfError::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    let mut source = File::open(path).map_err(unreadable)?;
    let memory = rustix::fs::memfd_create("oomwhy-btf", MemfdFlags::CLOEXEC)
        .map_err(|error| BtfError::Copy(error.into()))?;
    let mut memory = File::from(memory);
    io::copy(&mut source, &mut memory).map_err(unreadable)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{fixtures, offsets};

    #[test]
    fn no_file_and_no_btf_are_told_apart() {
        let absent = KernelBtf::open("/nonexistent/btf".as_ref())
            .err()
            .map(|e| e.to_string());
        assert!(absent.is_some_and(|text| text.contains("hint: the kernel needs CONFIG_DEBUG")));
        let folder = KernelBtf::open("/".as_ref()).err();
        assert!(matches!(folder, Some(BtfError::Unreadable { .. })));
        let text = KernelBtf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").as_ref());
        assert!(matches!(text.err(), Some(BtfError::Unparsable { .. })));
    }

    #[test]
    fn a_cut_or_damaged_btf_never_panics() {
        let whole = fixture_bytes("7.3");
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap_or_default();
            let _ = KernelBtf::from_bytes(cut).map(|btf| offsets::resolve(&btf));
        }
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0xff;
            let _ = KernelBtf::from_bytes(&damaged).map(|btf| offsets::resolve(&btf));
        }
    }

    fn fixture_bytes(series: &str) -> Vec<u8> {
        std::fs::read(fixtures::path(series)).expect("a fixture")
    }
}
