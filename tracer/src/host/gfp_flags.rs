//! The flags of a `gfp_mask` on this kernel. They are facts for [`crate::model::gfp`], which
//! decodes masks. Recordings have the list, so a replay decodes a mask as its kernel would.

use super::btf::KernelBtf;
use crate::model::gfp::GfpFlag;

/// A kernel without the enum is recognized by members of these structs.
pub(super) const STRUCTS: &[&str] = &["task_struct"];
pub(super) const MEMBERS: &[&str] = &["__state", "lockdep_depth"];
/// The prefix of enumerators that number bits.
pub(super) const ENUMERATORS: &str = "___GFP_";

/// Bits 0 to 22 of kernels that have macros only (before 6.10), from 5.10 on.
/// <https://github.com/torvalds/linux/blob/v5.10/include/linux/gfp.h>
#[rustfmt::skip]
const MACROS: [&str; 23] = [
    "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "ZERO", "ATOMIC",
    "DIRECT_RECLAIM", "KSWAPD_RECLAIM", "WRITE", "NOWARN", "RETRY_MAYFAIL", "NOFAIL", "NORETRY",
    "MEMALLOC", "COMP", "NOMEMALLOC", "HARDWALL", "THISNODE", "ACCOUNT",
];

/// The bits with a known name, lowest first.
pub(super) fn flags(btf: &KernelBtf) -> Vec<GfpFlag> {
    let mut flags = from_enum(btf);
    if flags.is_empty() {
        flags = from_macros(btf);
    }
    flags.sort_by_key(|flag| flag.bit);
    flags
}

/// `___GFP_IO_BIT` and the like, an anonymous enum since 6.10.
/// <https://github.com/torvalds/linux/blob/v6.10/include/linux/gfp_types.h>
fn from_enum(btf: &KernelBtf) -> Vec<GfpFlag> {
    btf.enumerators(ENUMERATORS)
        .filter_map(|(name, bit)| {
            Some((name.strip_prefix(ENUMERATORS)?.strip_suffix("_BIT")?, bit))
        })
        // Markers of the end of the enum and of gaps.
        .filter(|(name, _)| *name != "LAST" && !name.starts_with("UNUSED"))
        .map(|(name, bit)| flag(name, bit))
        .collect()
}

/// Macros are not in BTF. Bit 23 follows from a member that came, or is configured, with it. Higher
/// bits depend on the configuration and stay unknown.
fn from_macros(btf: &KernelBtf) -> Vec<GfpFlag> {
    let mut flags: Vec<_> = (0..).zip(MACROS).map(|(bit, name)| flag(name, bit)).collect();
    if btf.locate("task_struct.__state").is_ok() {
        // Both since 5.14.
        flags.push(flag("ZEROTAGS", 23));
    } else if btf.locate("task_struct.lockdep_depth").is_ok() {
        flags.push(flag("NOLOCKDEP", 23));
    }
    flags
}

fn flag(name: &str, bit: u32) -> GfpFlag {
    GfpFlag { name: format!("__GFP_{name}"), bit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixtures;

    fn named(series: &str, bit: u32) -> Option<String> {
        let flags = flags(&fixtures::btf(series));
        flags.into_iter().find(|flag| flag.bit == bit).map(|flag| flag.name)
    }

    #[test]
    fn stable_bits_have_the_same_name_on_every_kernel() {
        for series in fixtures::SERIES {
            assert_eq!(named(series, 6).as_deref(), Some("__GFP_IO"), "{series}");
            assert_eq!(named(series, 7).as_deref(), Some("__GFP_FS"), "{series}");
            assert_eq!(named(series, 18).as_deref(), Some("__GFP_COMP"), "{series}");
            assert_eq!(named(series, 22).as_deref(), Some("__GFP_ACCOUNT"), "{series}");
        }
    }

    #[test]
    fn bit_9_is_atomic_on_old_kernels_only() {
        assert_eq!(named("6.1", 9).as_deref(), Some("__GFP_ATOMIC"));
        for series in ["6.12", "6.18", "7.3"] {
            assert_eq!(named(series, 9), None, "{series}");
        }
    }

    #[test]
    fn bit_23_follows_from_members() {
        assert_eq!(named("5.10", 23), None, "no lockdep in this one");
        for series in ["6.1", "6.12", "6.18", "7.3"] {
            assert_eq!(named(series, 23).as_deref(), Some("__GFP_ZEROTAGS"), "{series}");
        }
    }

    #[test]
    fn end_marker_is_no_flag() {
        for series in fixtures::SERIES {
            for flag in flags(&fixtures::btf(series)) {
                assert!(flag.bit < 32 && !flag.name.contains("LAST"), "{series}: {flag:?}");
            }
        }
    }
}
