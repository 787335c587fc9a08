//! Flags that take a size.

use std::ops::RangeInclusive;

use crate::history::free_space::KeepFree;

/// Smallest ring buffer: one full report must fit.
const MIN_RING_BYTES: u64 = 128 << 10;
/// Largest ring buffer that the kernel accepts on every architecture.
const MAX_RING_BYTES: u64 = 1 << 30;
const MIN_HISTORY_BYTES: u64 = 1 << 20;

/// `--ring-size`: "524288", "512KiB" or "1MiB".
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    const BOUNDS: &str = "must be a power of two from 128KiB to 1GiB";
    let size = within(text, MIN_RING_BYTES..=MAX_RING_BYTES, BOUNDS)?;
    u32::try_from(size).ok().filter(|size| size.is_power_of_two()).ok_or(BOUNDS.to_owned())
}

/// `--max-use` of the history: "512MiB" or "2GiB".
pub(super) fn max_use(text: &str) -> Result<u64, String> {
    within(text, MIN_HISTORY_BYTES..=u64::MAX, "must be 1MiB or more, e.g. 512MiB")
}

/// `--keep-free` of the history: "1GiB", or "10%" of the file system.
pub(super) fn keep_free(text: &str) -> Result<KeepFree, String> {
    const BOUNDS: &str = "must be 1% to 99%, e.g. 10%";
    let Some(digits) = text.strip_suffix('%') else {
        let bytes = within(text, 1..=u64::MAX, "must be more than 0, e.g. 1GiB or 10%")?;
        return Ok(KeepFree::Bytes(bytes));
    };
    let percent = digits.parse().ok().filter(|percent| (1..=99).contains(percent));
    percent.map(KeepFree::Percent).ok_or(BOUNDS.to_owned())
}

fn within(text: &str, bytes: RangeInclusive<u64>, bounds: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..) {
        Some("") => 0,
        Some("KiB" | "K") => 10,
        Some("MiB" | "M") => 20,
        Some("GiB" | "G") => 30,
        Some("TiB" | "T") => 40,
        _ => return Err("write it in bytes, KiB, MiB or GiB, e.g. 512MiB".to_owned()),
    };
    let number: u64 = digits.trim_end().parse().map_err(|_| "not a whole number".to_owned())?;
    let size = number.checked_mul(1 << shift).ok_or("too large".to_owned())?;
    if bytes.contains(&size) { Ok(size) } else { Err(bounds.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{KeepFree, keep_free, max_use, ring_size};

    #[test]
    fn keep_free_is_a_size_or_a_percentage() {
        assert_eq!(keep_free("10%"), Ok(KeepFree::Percent(10)));
        assert_eq!(keep_free("1GiB"), Ok(KeepFree::Bytes(1 << 30)));
        assert_eq!(keep_free("1"), Ok(KeepFree::Bytes(1)));
        for wrong in ["", "%", "0%", "100%", "256%", "-1%", "1.5%", "0", "5 GB", "10%%"] {
            assert!(keep_free(wrong).is_err(), "{wrong}");
        }
        assert_eq!(keep_free("100%").unwrap_err(), "must be 1% to 99%, e.g. 10%");
        assert_eq!(keep_free("0").unwrap_err(), "must be more than 0, e.g. 1GiB or 10%");
    }

    #[test]
    fn ring_size_is_a_power_of_two_within_bounds() {
        assert_eq!(ring_size("524288"), Ok(512 << 10));
        assert_eq!(ring_size("512KiB"), Ok(512 << 10));
        assert_eq!(ring_size("1MiB"), Ok(1 << 20));
        assert_eq!(ring_size("1GiB"), Ok(1 << 30));
        for wrong in ["", "KiB", "513KiB", "4KiB", "2GiB", "4294967296", "4096MiB", "-1", "1 kB"] {
            assert!(ring_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn max_use_is_at_least_one_mib() {
        for (text, expected) in
            [("1MiB", 1 << 20), ("512M", 512 << 20), ("2GiB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(max_use(text), Ok(expected));
        }
        for wrong in ["", "5", "4KiB", "0MiB", "-1MiB", "1.5GiB", "1 kB", "99999999999TiB", "MiB"] {
            assert!(max_use(wrong).is_err(), "{wrong}");
        }
        assert_eq!(max_use("100KiB").unwrap_err(), "must be 1MiB or more, e.g. 512MiB");
    }
}
