//! Untrusted bytes (comm, command lines, cgroup names) made safe for a terminal. Pure.
//!
//! A process chooses its own name: without this it could move the cursor, forge lines or write to
//! the clipboard of the reader. Used when rendering only; the record keeps the bytes.
//!
//! [`sanitize`] escapes a name. Everything that is printed is a [`Safe`] or consists of them
//! ([`super::lines::Lines`]). Only this module makes a `Safe`, so no output can forget to escape.

use std::{
    fmt::{self, Display, Write},
    ops::Deref,
    path::Path,
};

/// One line of text in which no character acts on a terminal, hides, or reorders others.
///
/// It is made from a phrase, which consists of words of this program and of names that [`sanitize`]
/// has escaped. Anything else in it is escaped now; backslashes stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Safe(String);

impl From<String> for Safe {
    fn from(text: String) -> Self {
        if !text.chars().any(is_unsafe) {
            return Self(text);
        }
        let mut safe = String::with_capacity(text.len());
        for character in text.chars() {
            if is_unsafe(character) { push(&mut safe, character) } else { safe.push(character) }
        }
        Self(safe)
    }
}

impl From<&str> for Safe {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Safe {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<Safe> for String {
    fn from(Safe(text): Safe) -> Self {
        text
    }
}

impl Deref for Safe {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for Safe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A path for a message.
pub(crate) fn shown(path: &Path) -> Safe {
    Safe(sanitize(path.as_os_str().as_encoded_bytes()))
}

/// Whether a character must not be printed as it is.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control() || is_hidden(character)
}

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
    use std::{fs, path::Path};

    use super::{Safe, is_unsafe, sanitize};

    #[test]
    fn phrase_keeps_its_words_and_loses_what_is_unsafe() {
        for text in ["java[7] in /a\\x41", "käse 日本 █"] {
            assert_eq!(&*Safe::from(text), text);
        }
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\n\u{202e}b";
        let safe = Safe::from(hostile);
        assert_eq!(&*safe, "a\\x1b]0;x\\x07\\u{9b}2J\\x7f\\n\\u{202e}b");
        assert_eq!(Safe::from(&*safe), safe);
        for character in '\0'..='\u{ffff}' {
            assert!(!Safe::from(character.to_string()).contains(is_unsafe), "{character:?}");
        }
    }

    /// A message shows a path by `shown`. Tests may show it as they like.
    #[test]
    fn no_source_shows_a_path_unescaped() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut n_files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("tests") {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs")
                    && !path.ends_with("tests.rs")
                {
                    let source = fs::read_to_string(&path).unwrap();
                    let product = source.split("#[cfg(test)]").next().unwrap();
                    assert!(!product.contains(".display()"), "{path:?}");
                    n_files += 1;
                }
            }
        }
        assert!(n_files > 200, "{n_files}");
    }

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
