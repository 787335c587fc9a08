//! Compared with lines of real kernel logs.

use super::{GfpFlag, names, sort_by_format};

const BITS: &str = "DMA HIGHMEM DMA32 MOVABLE RECLAIMABLE HIGH IO FS ZERO ATOMIC DIRECT_RECLAIM \
    KSWAPD_RECLAIM WRITE NOWARN RETRY_MAYFAIL NOFAIL NORETRY MEMALLOC COMP NOMEMALLOC HARDWALL \
    THISNODE ACCOUNT";
/// Single flags as a format file of 6.12 lists them.
const FORMAT_6_12: &str = r#"{0x1u, "GFP_DMA"}, {0x2u, "__GFP_HIGHMEM"}, {0x4u, "GFP_DMA32"},
    {0x20u, "__GFP_HIGH"}, {0x40u, "__GFP_IO"}, {0x80u, "__GFP_FS"}, {0x2000u, "__GFP_NOWARN"},
    {0x40000u, "__GFP_COMP"}, {0x100u, "__GFP_ZERO"}, {0x400u|0x800u, "__GFP_RECLAIM"}"#;

fn with_atomic() -> Vec<GfpFlag> {
    let flags = BITS.split_whitespace().zip(0..);
    flags.map(|(name, bit)| GfpFlag { name: format!("__GFP_{name}"), bit }).collect()
}

fn by_bit() -> Vec<GfpFlag> {
    let mut flags = with_atomic();
    flags[9].name = "___GFP_UNUSED_BIT".to_owned();
    flags.push(GfpFlag { name: "___GFP_ZEROTAGS_BIT".to_owned(), bit: 23 });
    flags
}

fn by_format() -> Vec<GfpFlag> {
    let mut flags = by_bit();
    sort_by_format(&mut flags, FORMAT_6_12);
    flags
}

#[test]
fn gfp_names_match_kernel_logs() {
    for (flags, mask, expected) in [
        (with_atomic(), 0xcc0, "GFP_KERNEL"),
        (by_bit(), 0xcc0, "GFP_KERNEL"),
        // 5.10, 6.1, 6.12, then 6.18 and 7.3.
        (with_atomic(), 0x10_0dca, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO"),
        (with_atomic(), 0x14_0dca, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"),
        (by_format(), 0x14_0dca, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"),
        (by_bit(), 0x14_0dca, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP"),
    ] {
        assert_eq!(names(mask, &flags).join("|"), expected, "{mask:#x}");
    }
}

#[test]
fn gfp_combinations_follow_bits_of_kernel() {
    for (flags, mask, expected) in [
        (with_atomic(), 0xa20, "GFP_ATOMIC"),
        (by_bit(), 0x820, "GFP_ATOMIC"),
        (with_atomic(), 0x820, "GFP_NOWAIT|__GFP_HIGH"),
        (with_atomic(), 0x2800, "GFP_NOWAIT|__GFP_NOWARN"),
        (by_bit(), 0x2800, "GFP_NOWAIT"),
        (by_bit(), 0x800, "__GFP_KSWAPD_RECLAIM"),
        (by_bit(), 0x44_0dc0, "GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP"),
        (by_format(), 0x44_0dc0, "GFP_KERNEL_ACCOUNT|__GFP_COMP|__GFP_ZERO"),
        (by_bit(), 0x1c_24ca, "GFP_TRANSHUGE"),
        (by_bit(), 0x1c_20ca, "GFP_TRANSHUGE_LIGHT"),
        (by_bit(), 0x10_0cc2, "GFP_HIGHUSER"),
        (by_bit(), 0x10_0cc0, "GFP_USER"),
        (by_bit(), 0xc41, "GFP_NOFS|GFP_DMA"),
        (by_bit(), 0xc04, "GFP_NOIO|GFP_DMA32"),
    ] {
        assert_eq!(names(mask, &flags).join("|"), expected, "{mask:#x}");
    }
}

#[test]
fn gfp_bits_without_name_are_hex() {
    assert_eq!(names(0x8000_0cc0, &by_bit()).join("|"), "GFP_KERNEL|0x80000000");
    assert_eq!(names(0xcc0, &[]), ["0xcc0"]);
    assert!(names(0, &by_bit()).is_empty());
}

#[test]
fn each_gfp_bit_is_named_once() {
    let flags = by_bit();
    for mask in (0..24).map(|bit| 1 << bit) {
        assert_eq!(names(mask, &flags).len(), 1, "{mask:#x}");
    }
}
