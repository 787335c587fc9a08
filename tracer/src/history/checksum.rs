//! The end of a line of the history: the record's number, and a checksum that shows damage.
//!
//! `{..., "seq":17,"crc":"5d0f9a2b"}`: the last two keys of the JSON object are added here. The
//! checksum is the CRC-32 of gzip over all bytes of the line before `,"crc"`. So a line stays a
//! JSON object for grep and jq, and shows its damage by itself, wherever it is copied. Pure.

use std::io::Write as _;

use flate2::Crc;

/// Begins the checksum of a line. No other part of JSON looks like this: within a string, a quote
/// has a backslash before it.
const CRC_KEY: &[u8] = b",\"crc\":\"";
const CRC_DIGITS: usize = 8;
const END: &[u8] = b"\"}";
const CRC_BYTES: usize = CRC_KEY.len() + CRC_DIGITS + END.len();

/// What the checksum of a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    Intact,
    Broken,
    /// It has no checksum: an older version wrote it, or its end is damaged.
    Absent,
}

/// The line of a record, with its newline. `None` if the record is not a JSON object with keys.
pub(super) fn seal(record: &[u8], seq: u64) -> Option<Vec<u8>> {
    let record = record.trim_ascii();
    let keys = record.strip_prefix(b"{")?.strip_suffix(b"}")?;
    if keys.is_empty() {
        return None;
    }
    let mut line = [b"{", keys].concat();
    // Writing to a Vec cannot fail.
    let _ = write!(line, ",\"seq\":{seq}");
    let checksum = crc(&line);
    line.extend_from_slice(CRC_KEY);
    let _ = write!(line, "{checksum:08x}");
    line.extend_from_slice(END);
    line.push(b'\n');
    Some(line)
}

/// A part of a line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Where it begins in the line.
    pub at: usize,
    pub text: &'a [u8],
    pub seal: Seal,
}

/// The parts of a line, given without its newline. It has one part, unless the newline between
/// intact lines is damaged.
pub(super) fn parts(line: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let at = next.take()?;
        let rest = line.get(at..)?;
        // A line of one part is checked in one go. For the others, each byte is checked only once.
        let whole = (at == 0).then(|| check(rest));
        let length = if whole == Some(Seal::Intact) { None } else { first_intact(rest) };
        let Some(length) = length.filter(|length| *length < rest.len()) else {
            let seal = whole.unwrap_or_else(|| check(rest));
            return Some(Part { at, text: rest, seal });
        };
        // The byte between the parts was the newline.
        next = Some(at + length + 1).filter(|next| *next < line.len());
        Some(Part { at, text: rest.get(..length)?, seal: Seal::Intact })
    })
}

/// Checks a line, given without its newline.
fn check(line: &[u8]) -> Seal {
    let Some((content, seal)) = line.split_last_chunk::<CRC_BYTES>() else {
        return Seal::Absent;
    };
    if !seal.starts_with(CRC_KEY) || !seal.ends_with(END) {
        return Seal::Absent;
    }
    if has_digits(seal, crc(content)) { Seal::Intact } else { Seal::Broken }
}

/// The length of the intact line at the beginning of a longer text.
fn first_intact(line: &[u8]) -> Option<usize> {
    let (mut crc, mut done) = (Crc::new(), 0);
    // The checksum of nothing is no record.
    if line.first() != Some(&b'{') {
        return None;
    }
    for (at, window) in line.windows(CRC_BYTES).enumerate() {
        if !window.starts_with(CRC_KEY) || !window.ends_with(END) {
            continue;
        }
        crc.update(line.get(done..at)?);
        done = at;
        if has_digits(window, crc.sum()) {
            return Some(at + CRC_BYTES);
        }
    }
    None
}

/// Whether the end of a line has this checksum. A digit in upper case is damaged.
fn has_digits(seal: &[u8], crc: u32) -> bool {
    let mut digits = [0; CRC_DIGITS];
    let is_written = write!(digits.as_mut_slice(), "{crc:08x}").is_ok();
    is_written && seal.get(CRC_KEY.len()..CRC_KEY.len() + CRC_DIGITS) == Some(&digits)
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(content);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::{Seal, check, parts, seal};
    use crate::fmt::timing::assert_linear;

    const RECORD: &[u8] = br#"{"type":"oom","schema":1,"message":"a\",\"crc\":\"00000000\"}"}"#;

    fn line() -> Vec<u8> {
        let mut line = seal(RECORD, 17).unwrap();
        assert_eq!(line.pop(), Some(b'\n'));
        line
    }

    #[test]
    fn line_is_json_with_number_and_checksum_of_gzip() {
        let value: serde_json::Value = serde_json::from_slice(&line()).unwrap();
        assert_eq!((&value["seq"], &value["schema"]), (&17.into(), &1.into()));
        let line = String::from_utf8(seal(br#"{"a":1}"#, 2).unwrap()).unwrap();
        // python3 -c 'import zlib; print(hex(zlib.crc32(b"{\"a\":1,\"seq\":2")))'
        assert_eq!(line, "{\"a\":1,\"seq\":2,\"crc\":\"a3f9ddb0\"}\n");
        assert_eq!(seal(b"{\"a\":1}\n", 2).unwrap(), line.as_bytes(), "its newline is optional");
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        for text in ["", "{}", "{", "7", "[1]", "{\"a\":1", "\"a\""] {
            assert_eq!(seal(text.as_bytes(), 1), None, "{text}");
        }
    }

    #[test]
    fn any_damaged_byte_shows() {
        let good = line();
        assert_eq!(check(&good), Seal::Intact);
        let seal_begins = good.len() - super::CRC_BYTES;
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut line = good.clone();
                line[at] ^= 1 << bit;
                let found = check(&line);
                assert_ne!(found, Seal::Intact, "{at} {bit}");
                assert!(at >= seal_begins || found == Seal::Broken, "{at} {bit}");
            }
        }
    }

    #[test]
    fn line_without_checksum_is_no_damage() {
        for text in [RECORD, b"", b"{}", br#"{"crc":"1234567"}"#] {
            assert_eq!(check(text), Seal::Absent);
        }
    }

    #[test]
    fn intact_lines_around_a_damaged_newline_are_two_parts() {
        let of = |line: &[u8]| {
            let parts = parts(line).map(|part| (part.at, part.text.to_vec(), part.seal));
            parts.collect::<Vec<_>>()
        };
        let one = line();
        let first = (0, one.clone(), Seal::Intact);
        assert_eq!(of(&one), std::slice::from_ref(&first));
        let joined = [one.as_slice(), b"X", &one].concat();
        assert_eq!(of(&joined), [first.clone(), (one.len() + 1, one.clone(), Seal::Intact)]);
        let torn = [one.as_slice(), b"X{\"type\""].concat();
        let rest = (one.len() + 1, b"{\"type\"".to_vec(), Seal::Absent);
        assert_eq!(of(&torn), [first.clone(), rest]);
        assert_eq!(of(&[one.as_slice(), b"X"].concat()), [first]);
        assert_eq!(of(&joined[1..]), [(0, joined[1..].to_vec(), Seal::Broken)]);
        assert_eq!(of(b""), [(0, Vec::new(), Seal::Absent)]);
    }

    #[test]
    fn time_to_search_is_linear() {
        let seals = |count| [b"{", br#","crc":"00000000"}"#.repeat(count).as_slice()].concat();
        let (short, long) = (seals(5_000), seals(10_000));
        let n_parts = |line: &[u8]| parts(line).count();
        assert_eq!(n_parts(&short), 1);
        assert_linear(|| n_parts(&short), || n_parts(&long));
        let lines = |count| [line().as_slice(), b"X"].concat().repeat(count);
        let (short, long) = (lines(1_000), lines(2_000));
        assert_eq!(n_parts(&short), 1_000);
        assert_linear(|| n_parts(&short), || n_parts(&long));
    }
}
