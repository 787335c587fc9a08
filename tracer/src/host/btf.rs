//! Reads the kernel's BTF in one streamed pass and keeps the few types that oomwhy asks for.
//!
//! Not the whole: 80,000 to 200,000 parsed types cost tens of megabytes on a host that may be
//! short of memory. `raw` walks the file, `index` finds, `reduce` keeps, btf-rs resolves.

use std::{
    fs::File,
    io::{self, Read, Seek},
    mem,
    path::{Path, PathBuf},
};

use btf_rs::{Btf, BtfType, Type};
use raw::Damage;
use reduce::{Reduced, reduce};
use skeleton::skeleton;

mod index;
pub(crate) mod raw;
mod reduce;
mod skeleton;
mod write;

/// Where the kernel shows its own BTF.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Longest chain of typedefs and qualifiers that is followed: a damaged file may have a loop.
const MAX_CHAIN: usize = 32;

/// Why there is no BTF to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BtfError {
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
    /// Not BTF, or damaged.
    #[error("cannot parse kernel BTF from {}", path.display())]
    Unparsable {
        /// The file that was parsed.
        path: PathBuf,
        /// What went wrong.
        source: Damage,
    },
}

/// The kernel's types, as far as `wanted_names` and `wanted_members` name them.
pub(crate) struct KernelBtf {
    btf: Btf,
    reduced: Reduced,
}

impl KernelBtf {
    /// Reads the BTF of the running kernel, or of a file that stands in for it.
    pub(crate) fn open(path: &Path) -> Result<Self, BtfError> {
        let file = File::open(path).map_err(Damage::Read);
        file.and_then(Self::read).map_err(|damage| unusable(path, damage))
    }

    /// Takes BTF that is in memory already.
    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, BtfError> {
        Self::read(io::Cursor::new(bytes)).map_err(|damage| unusable("(memory)".as_ref(), damage))
    }

    /// What is kept of the BTF in a file, as BTF: 4 KB that say the same to us as the kernel's 5 MB.
    pub(crate) fn reduced(path: &Path) -> Result<Vec<u8>, BtfError> {
        let file = File::open(path).map_err(Damage::Read);
        let reduced = file.and_then(reduce).map_err(|damage| unusable(path, damage))?;
        Ok(reduced.bytes)
    }

    fn read(source: impl Read + Seek) -> Result<Self, Damage> {
        let mut reduced = reduce(source)?;
        let btf = Btf::from_bytes(&mem::take(&mut reduced.bytes))?;
        Ok(Self { btf, reduced })
    }

    /// BTF in which only the ids of functions and tracepoints are true: what aya needs of it.
    pub(crate) fn hooks(&self) -> Vec<u8> {
        skeleton(&self.reduced.hooks)
    }

    /// The same of a kernel without BTF.
    pub(crate) fn no_hooks() -> Vec<u8> {
        skeleton(&[])
    }

    /// Whether a function of this name can be hooked through BTF.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.reduced.hooks.iter().any(|hook| hook.is_function(name))
    }

    /// Value of an enumerator of a wanted or an anonymous enum.
    pub(crate) fn enumerator(&self, name: &str) -> Option<u32> {
        self.reduced.enumerators.get(name).copied()
    }

    /// All indexed enumerators whose name starts like this.
    pub(crate) fn enumerators(&self, prefix: &str) -> impl Iterator<Item = (&str, u32)> {
        self.reduced
            .enumerators
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// Ids of the structs and unions of this name.
    pub(super) fn structs(&self, name: &str) -> &[u32] {
        self.reduced.structs.get(name).map_or(&[], Vec::as_slice)
    }

    /// The type behind a typedef's name.
    pub(super) fn typedef(&self, name: &str) -> Option<Type> {
        self.plain(*self.reduced.typedefs.get(name)?)
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

/// Only a file that cannot be opened or read at all is no damage of the BTF in it.
fn unusable(path: &Path, damage: Damage) -> BtfError {
    let path = path.to_owned();
    match damage {
        Damage::Read(source) if source.kind() == io::ErrorKind::NotFound => {
            BtfError::Absent { path }
        }
        Damage::Read(source) => BtfError::Unreadable { path, source },
        source => BtfError::Unparsable { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{fixtures, offsets};

    #[test]
    fn no_file_and_no_btf_are_told_apart() {
        let absent = KernelBtf::open("/nonexistent/btf".as_ref()).err().map(|e| e.to_string());
        assert!(absent.is_some_and(|text| text.contains("hint: the kernel needs CONFIG_DEBUG")));
        let folder = KernelBtf::open("/".as_ref()).err();
        assert!(matches!(folder, Some(BtfError::Unreadable { .. })));
        let text = KernelBtf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").as_ref());
        assert!(matches!(text.err(), Some(BtfError::Unparsable { .. })));
    }

    #[test]
    fn a_cut_or_damaged_btf_never_panics() {
        let whole = fixture_bytes("7.3");
        // A step that meets every byte of the words it is made of, in turn.
        for length in (0..whole.len()).step_by(7) {
            let cut = whole.get(..length).unwrap_or_default();
            let _ = KernelBtf::from_bytes(cut).map(|btf| offsets::resolve(&btf));
        }
        for index in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[index] ^= 0xff;
            let _ = KernelBtf::from_bytes(&damaged).map(|btf| offsets::resolve(&btf));
        }
    }

    fn fixture_bytes(series: &str) -> Vec<u8> {
        std::fs::read(fixtures::path(series)).expect("a fixture")
    }
}
