//! FNV-1a, 64 bits. A hash that leaves this process must be the same in every build, which the
//! standard library's hash is not.
//! <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>

/// The hash of nothing.
pub(crate) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Adds a value to a hash: a byte, as in the standard, or a larger number.
pub(crate) const fn add(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3)
}

/// The hash of bytes.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(START, |hash, byte| add(hash, u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn hash_of_published_vectors_is_reproduced() {
        for (text, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(hash(text.bytes()), expected, "{text}");
        }
    }
}
