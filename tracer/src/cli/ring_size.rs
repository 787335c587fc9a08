//! `--ring-size`: the sizes that the kernel accepts.

/// One full report must fit. Bytes.
const RING_MIN: u32 = 128 << 10;
/// The kernel accepts no larger ring on some architectures. Bytes.
const RING_MAX: u32 = 1 << 30;

/// "524288", "512KiB" or "1MiB".
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..) {
        Some("") => 0,
        Some("KiB" | "K") => 10,
        Some("MiB" | "M") => 20,
        _ => return Err("write it as bytes, KiB or MiB, e.g. 512KiB".to_owned()),
    };
    let number: u32 = digits.trim_end().parse().map_err(|_| "not a number".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large".to_owned())?;
    if !bytes.is_power_of_two() || !(RING_MIN..=RING_MAX).contains(&bytes) {
        return Err("must be a power of two from 128KiB to 1024MiB".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn size_must_be_power_of_two() {
        assert_eq!(parse("524288"), Ok(512 << 10));
        assert_eq!(parse("512KiB"), Ok(512 << 10));
        assert_eq!(parse("1MiB"), Ok(1 << 20));
        for wrong in ["", "KiB", "513KiB", "4KiB", "2GiB", "4294967296", "4096MiB", "-1", "1 kB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
