//! Reads the kernel's BTF in one streamed pass and keeps the few types that oomwhy asks for.
//!
//! All of its 80,000 to 200,000 types would cost tens of megabytes on a host that may be short of
//! memory. `raw` walks the file, `index` finds types, `reduce` copies them, btf-rs resolves paths.

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

use super::facts::WantedHook;
use crate::fmt::sanitize::shown;

mod index;
pub(crate) mod raw;
mod reduce;
mod skeleton;
mod write;

/// Where the kernel shows its own BTF.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The longest chain of typedefs and qualifiers that is followed. A damaged file may have a loop.
const MAX_CHAIN: usize = 32;

/// Why there is no BTF to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BtfError {
    #[error(
        "no kernel BTF at {}\nhint: the kernel needs CONFIG_DEBUG_INFO_BTF=y, or give the BTF of \
         this very kernel with --btf FILE",
        shown(path)
    )]
    Absent { path: PathBuf },
    #[error(
        "cannot read kernel BTF from {}: {error}\nhint: run as root, or give a readable file with \
         --btf FILE",
        shown(path)
    )]
    Unreadable { path: PathBuf, error: io::Error },
    /// The file is not BTF, or damaged.
    #[error(
        "cannot parse kernel BTF from {}: {damage}\nhint: give the BTF of this very kernel with \
         --btf FILE",
        shown(path)
    )]
    Unparsable { path: PathBuf, damage: Damage },
}

/// The kernel's types, as far as `wanted_names` and `wanted_members` name them.
pub(crate) struct KernelBtf {
    btf: Btf,
    reduced: Reduced,
}

impl KernelBtf {
    /// Reads the BTF of the running kernel, or of a file that stands in for it.
    pub(crate) fn open(path: &Path, hooks: &[WantedHook]) -> Result<Self, BtfError> {
        let file = File::open(path).map_err(Damage::Read);
        file.and_then(|file| Self::read(file, hooks)).map_err(|damage| unusable(path, damage))
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8], hooks: &[WantedHook]) -> Result<Self, BtfError> {
        Self::read(io::Cursor::new(bytes), hooks)
            .map_err(|damage| unusable("(memory)".as_ref(), damage))
    }

    /// The wanted part of the BTF in a file, as BTF: 4 KB of 5 MB.
    pub(crate) fn reduced(path: &Path, hooks: &[WantedHook]) -> Result<Vec<u8>, BtfError> {
        let file = File::open(path).map_err(Damage::Read);
        let reduced = file.and_then(|file| reduce(file, hooks));
        Ok(reduced.map_err(|damage| unusable(path, damage))?.bytes)
    }

    fn read(source: impl Read + Seek, hooks: &[WantedHook]) -> Result<Self, Damage> {
        let mut reduced = reduce(source, hooks)?;
        let btf = Btf::from_bytes(&mem::take(&mut reduced.bytes))?;
        Ok(Self { btf, reduced })
    }

    /// BTF with the kernel's ids of the hooks and nothing else, which is all that aya needs.
    pub(crate) fn hooks(&self) -> Vec<u8> {
        skeleton(&self.reduced.hooks)
    }

    /// The same for a kernel without BTF.
    pub(crate) fn no_hooks() -> Vec<u8> {
        skeleton(&[])
    }

    /// Whether a trampoline can be attached to a function of this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.reduced.hooks.iter().any(|hook| hook.is_function(name))
    }

    /// The value of an enumerator of a wanted or an anonymous enum.
    pub(crate) fn enumerator(&self, name: &str) -> Option<u32> {
        self.reduced.enumerators.get(name).copied()
    }

    /// The kept enumerators whose names have this prefix.
    pub(crate) fn enumerators(&self, prefix: &str) -> impl Iterator<Item = (&str, u32)> {
        self.reduced
            .enumerators
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), *value))
    }

    pub(super) fn structs(&self, name: &str) -> &[u32] {
        self.reduced.structs.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn typedef(&self, name: &str) -> Option<Type> {
        self.plain(*self.reduced.typedefs.get(name)?)
    }

    /// A type without the typedefs, qualifiers and tags around it.
    pub(super) fn plain(&self, mut id: u32) -> Option<Type> {
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

/// A file that cannot be opened or read has an error of its own: its BTF may be fine.
fn unusable(path: &Path, damage: Damage) -> BtfError {
    let owned = path.to_owned();
    match damage {
        Damage::Read(source) if source.kind() == io::ErrorKind::NotFound => {
            BtfError::Absent { path: owned }
        }
        Damage::Read(error) => BtfError::Unreadable { path: owned, error },
        damage => BtfError::Unparsable { path: owned, damage },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{fixtures, offsets};

    #[test]
    fn absent_unreadable_and_unparsable_files_have_errors_of_their_own() {
        let absent = KernelBtf::open("/nonexistent/btf".as_ref(), &[]).err().map(|e| e.to_string());
        assert!(absent.is_some_and(|text| text.contains("hint: the kernel needs CONFIG_DEBUG")));
        let folder = KernelBtf::open("/".as_ref(), &[]).err();
        assert!(matches!(folder, Some(BtfError::Unreadable { .. })));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = KernelBtf::open(path.as_ref(), &[]);
        assert!(matches!(text.err(), Some(BtfError::Unparsable { .. })));
    }

    #[test]
    fn cut_or_damaged_btf_never_panics() {
        let whole = fixture_bytes("7.3");
        // A step that meets every byte of the words it is made of, in turn.
        for length in (0..whole.len()).step_by(7) {
            let cut = whole.get(..length).unwrap_or_default();
            let _ = KernelBtf::from_bytes(cut, fixtures::HOOKS).map(|btf| offsets::resolve(&btf));
        }
        for index in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[index] ^= 0xff;
            let _ =
                KernelBtf::from_bytes(&damaged, fixtures::HOOKS).map(|btf| offsets::resolve(&btf));
        }
    }

    fn fixture_bytes(series: &str) -> Vec<u8> {
        std::fs::read(fixtures::path(series)).expect("a fixture")
    }
}
