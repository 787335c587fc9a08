//! Converts bytes to text and back without loss, so that the log can be parsed as text although a
//! task's name can be any bytes. A byte that is not UTF-8 becomes a character of the last private
//! plane.

/// The character of byte 0; all characters from here on stand for bytes.
const FIRST: u32 = 0x10_ff00;

pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if u32::from(character) >= FIRST {
                let mut utf8 = [0; 4];
                text.extend(character.encode_utf8(&mut utf8).bytes().filter_map(encoded));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(encoded));
    }
    text
}

/// The bytes that [`text`] was given.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(FIRST).map(u8::try_from) {
            Some(Ok(byte)) => bytes.push(byte),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn encoded(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bytes, text};

    #[test]
    fn plain_text_is_unchanged() {
        assert_eq!(text("käse".as_bytes()), "käse");
        assert_ne!(text(b"a\xff"), "a");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(input: Vec<u8>) {
            prop_assert_eq!(bytes(&text(&input)), input);
        }

        #[test]
        fn text_with_reserved_characters_comes_back(input: String) {
            let input = format!("{input}\u{10ff41}\u{10ffff}");
            prop_assert_eq!(bytes(&text(input.as_bytes())), input.as_bytes());
        }
    }
}
