//! A gfp_mask and the names the kernel's log prints for it (`%pGg`). Pure.
//!
//! The kernel walks a table: combinations such as GFP_KERNEL first, then single flags. It prints
//! each entry whose bits are all set and removes these bits; the remaining bits are printed as hex.
//!
//! The bits differ between kernels, so they are passed as a list of flags; combinations are
//! computed from it. Two orders exist: up to 6.13 single flags have an order of their own, since
//! 6.14 they are ordered by bit.
//! <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/mmflags.h>
//! <https://github.com/torvalds/linux/blob/v6.18/include/trace/events/mmflags.h>

use serde::{Deserialize, Serialize};

/// A single flag of this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GfpFlag {
    /// The name: any of `DIRECT_RECLAIM`, `__GFP_DIRECT_RECLAIM` and `___GFP_DIRECT_RECLAIM_BIT`.
    pub name: String,
    /// The number of the bit, from 0.
    pub bit: u32,
}

/// Combinations, in the order of the kernel's table; the same in both orders.
const COMBINATIONS: [(&str, &str); 11] = [
    (
        "GFP_TRANSHUGE",
        "DIRECT_RECLAIM IO FS HARDWALL HIGHMEM MOVABLE SKIP_KASAN? COMP NOMEMALLOC NOWARN",
    ),
    ("GFP_TRANSHUGE_LIGHT", "IO FS HARDWALL HIGHMEM MOVABLE SKIP_KASAN? COMP NOMEMALLOC NOWARN"),
    ("GFP_HIGHUSER_MOVABLE", "RECLAIM IO FS HARDWALL HIGHMEM MOVABLE SKIP_KASAN?"),
    ("GFP_HIGHUSER", "RECLAIM IO FS HARDWALL HIGHMEM"),
    ("GFP_USER", "RECLAIM IO FS HARDWALL"),
    ("GFP_KERNEL_ACCOUNT", "RECLAIM IO FS ACCOUNT"),
    ("GFP_KERNEL", "RECLAIM IO FS"),
    ("GFP_NOFS", "RECLAIM IO"),
    ("GFP_ATOMIC", "HIGH ATOMIC? KSWAPD_RECLAIM"),
    ("GFP_NOIO", "RECLAIM"),
    ("GFP_NOWAIT", "KSWAPD_RECLAIM NOWARN?"),
];

/// Entries behind the combinations up to 6.13.
const OLD_ORDER: &str = "GFP_DMA HIGHMEM GFP_DMA32 HIGH ATOMIC IO FS NOWARN RETRY_MAYFAIL NOFAIL \
    NORETRY COMP ZERO NOMEMALLOC MEMALLOC HARDWALL THISNODE RECLAIMABLE MOVABLE ACCOUNT WRITE \
    RECLAIM DIRECT_RECLAIM KSWAPD_RECLAIM";
/// Entries between the combinations and the single flags since 6.14.
const NEW_ORDER: &str = "GFP_DMA GFP_DMA32 RECLAIM";

/// Names of a mask as the kernel's log prints them; bits without a name come last, in hex.
///
/// The flags' own order says which of the two tables this kernel has: see [`sort_by_format`].
pub(crate) fn names(mask: u32, flags: &[GfpFlag]) -> Vec<String> {
    let table = Table { flags };
    let mut rest = mask;
    let mut names = Vec::new();
    for (name, bits) in table.entries() {
        if rest != 0 && bits != 0 && rest & bits == bits {
            names.push(name);
            rest &= !bits;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

/// Sorts flags into the order of this kernel's table, as the text of a tracepoint's `format` file
/// with a gfp mask shows it (e.g. vmscan/mm_vmscan_direct_reclaim_begin). Without that file a list
/// sorted by bit is right for 6.14 and later, and for kernels that have __GFP_ATOMIC (up to 6.2).
pub(crate) fn sort_by_format(flags: &mut [GfpFlag], format: &str) {
    let position = |flag: &GfpFlag| {
        let name = short_name(&flag.name);
        let quoted = [format!("\"__GFP_{name}\""), format!("\"GFP_{name}\"")];
        quoted.iter().filter_map(|name| format.find(name)).min().unwrap_or(usize::MAX)
    };
    flags.sort_by_key(|flag| (position(flag), flag.bit));
}

struct Table<'a> {
    flags: &'a [GfpFlag],
}

impl Table<'_> {
    /// Every name with its bits, in the kernel's order.
    fn entries(&self) -> Vec<(String, u32)> {
        let order = if self.is_old() { OLD_ORDER } else { NEW_ORDER };
        let combinations = COMBINATIONS.iter().map(|&(name, parts)| (name.into(), self.sum(parts)));
        let middle = order.split(' ').map(|name| match name.strip_prefix("GFP_") {
            Some(zone) => (name.to_owned(), self.sum(zone)),
            None => (format!("__GFP_{name}"), self.sum(name)),
        });
        let singles = self.flags.iter().map(|flag| {
            let name = short_name(&flag.name);
            (format!("__GFP_{name}"), bit(flag))
        });
        combinations.chain(middle).chain(singles).collect()
    }

    /// Only the old table has __GFP_ATOMIC, and only it puts __GFP_COMP before __GFP_ZERO.
    fn is_old(&self) -> bool {
        let position = |name| self.flags.iter().position(|flag| short_name(&flag.name) == name);
        position("ATOMIC").is_some() || position("COMP") < position("ZERO")
    }

    /// Bits of a combination; 0, which matches nothing, if one of its parts is not known.
    fn sum(&self, parts: &str) -> u32 {
        parts.split(' ').try_fold(0, |sum, part| Some(sum | self.part(part)?)).unwrap_or(0)
    }

    /// `?` marks a part that only some kernels have.
    fn part(&self, part: &str) -> Option<u32> {
        match part {
            "RECLAIM" => Some(self.single("DIRECT_RECLAIM")? | self.single("KSWAPD_RECLAIM")?),
            // 6.1 has two flags, later kernels one; none without CONFIG_KASAN_HW_TAGS.
            "SKIP_KASAN?" => Some(
                ["SKIP_KASAN", "SKIP_KASAN_POISON", "SKIP_KASAN_UNPOISON"]
                    .iter()
                    .filter_map(|name| self.single(name))
                    .fold(0, |sum, bits| sum | bits),
            ),
            "ATOMIC?" => Some(self.single("ATOMIC").unwrap_or(0)),
            // Since 16f5dfbc851b (6.7). 6.3 to 6.6 look the same but do not have it. A mask with
            // __GFP_DIRECT_RECLAIM, as every mask that reaches the OOM killer, is not affected.
            "NOWARN?" if self.single("ATOMIC").is_some() => Some(0),
            "NOWARN?" => self.single("NOWARN"),
            name => self.single(name),
        }
    }

    fn single(&self, name: &str) -> Option<u32> {
        self.flags.iter().find(|flag| short_name(&flag.name) == name).map(bit)
    }
}

fn bit(flag: &GfpFlag) -> u32 {
    1_u32.checked_shl(flag.bit).unwrap_or(0)
}

fn short_name(name: &str) -> &str {
    let trimmed = name.trim_start_matches('_');
    let short = trimmed.strip_prefix("GFP_").unwrap_or(trimmed);
    short.strip_suffix("_BIT").unwrap_or(short)
}

#[cfg(test)]
mod tests;
