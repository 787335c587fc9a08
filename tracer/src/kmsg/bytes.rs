//! Bytes as text and back again without loss, so that the log can be read as text though a task's
//! name is any bytes. A byte that is not UTF-8 is a character of the last private plane.

/// Byte 0 as a character; the characters from here on are bytes in disguise.
const FIRST: u32 = 0x10_ff00;

/// The text of these bytes.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if u32::from(character) >= FIRST {
                let mut utf8 = [0; 4];
                text.extend(character.encode_utf8(&mut utf8).bytes().filter_map(disguised));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(disguised));
    }
    text
}

/// The bytes that [`text`] was given.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(FIRST).map(u8::try_from) {
            Some(Ok(byte)) => bytes.push(byte),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn disguised(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bytes, text};

    #[test]
    fn plain_text_is_itself() {
        assert_eq!(text("käse".as_bytes()), "käse");
        assert_ne!(text(b"a\xff"), "a");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(input: Vec<u8>) {
            prop_assert_eq!(bytes(&text(&input)), input);
        }

        #[test]
        fn nor_what_is_a_disguise_already(input: String) {
            let input = format!("{input}\u{10ff41}\u{10ffff}");
            prop_assert_eq!(bytes(&text(input.as_bytes())), input.as_bytes());
        }
    }
}
