//! Untrusted bytes (comm, command lines, cgroup names) made safe for a terminal. Pure.
//!
//! A process chooses its own name: without this it could move the cursor, forge lines or write to
//! the clipboard of whoever reads the report. Used when rendering only; the record keeps the bytes.

use std::fmt::Write;

/// The bytes as one line of text. Bytes and characters that could act on a terminal or hide are
/// shown as escapes.
pub(crate) fn sanitize(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push(&mut text, character));
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    text
}

fn push(text: &mut String, character: char) {
    match character {
        // Else a name with the text `\x1b` would look like one with an escape.
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\0'..='\x1f' | '\x7f' => push_byte(text, character as u8),
        _ if is_hidden(character) => {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        }
        _ => text.push(character),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Characters that are invisible, reorder visible ones, or break the line.
fn is_hidden(character: char) -> bool {
    matches!(character,
        // C1 controls: some terminals act on them.
        '\u{80}'..='\u{9f}'
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        // Zero width characters and direction marks.
        | '\u{200b}'..='\u{200f}'
        // Line and paragraph separators, bidi embeddings and overrides.
        | '\u{2028}'..='\u{202e}'
        // Word joiner, invisible operators, bidi isolates.
        | '\u{2060}'..='\u{206f}'
        // Byte order mark, annotations.
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        // Tags.
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn every_byte_value_alone_is_safe() {
        for byte in 0..=u8::MAX {
            let text = sanitize(&[byte]);
            assert!(!text.is_empty(), "{byte:#x}");
            assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{byte:#x}: {text:?}");
            let is_itself = (b' '..=b'~').contains(&byte) && byte != b'\\';
            assert_eq!(text.len() == 1, is_itself, "{byte:#x}: {text:?}");
        }
    }

    #[test]
    fn all_byte_values_together_are_safe() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert!(!sanitize(&all).chars().any(char::is_control));
    }

    #[test]
    fn control_and_hidden_characters_are_escaped() {
        for (bytes, expected) in [
            (&b"java"[..], "java"),
            (b"\x1b]52;c;AAAA\x07", "\\x1b]52;c;AAAA\\x07"),
            (b"a\nb\rc\td", "a\\nb\\rc\\td"),
            // Text that looks like an escape is none.
            (br"a\x1b", r"a\\x1b"),
            (br"dev-disk\x2dby", r"dev-disk\\x2dby"),
            (b"ok\xff\xfe", "ok\\xff\\xfe"),
            ("käse 日本".as_bytes(), "käse 日本"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("a\u{202e}b\u{2066}".as_bytes(), "a\\u{202e}b\\u{2066}"),
            (b"\xf0\x9f\x98", "\\xf0\\x9f\\x98"),
        ] {
            assert_eq!(sanitize(bytes), expected);
        }
    }
}
