//! Untrusted bytes in JSON: as text, and as hex beside it if the text would lose something.

use std::fmt::Write;

/// Text for a key such as `comm`, and hex for `comm_hex` if the bytes are not valid UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(hex(bytes))),
    }
}

/// The bytes that [`lossy`] was given; the bytes of the text if `hex` is not valid hex.
pub(crate) fn original(text: &str, hex: Option<&str>) -> Vec<u8> {
    hex.and_then(unhex).unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Lower-case hex, without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::{lossy, original};

    #[test]
    fn original_returns_the_bytes_given_to_lossy() {
        for bytes in [b"java".as_slice(), b"", b"a\xffb\n", "käse".as_bytes(), b"\xf0\x9f"] {
            let (text, hex) = lossy(bytes);
            assert_eq!(original(&text, hex.as_deref()), bytes);
            assert_eq!(hex.is_some(), std::str::from_utf8(bytes).is_err());
        }
        assert_eq!(original("x", Some("4")), b"x");
        assert_eq!(original("x", Some("zz")), b"x");
    }
}
