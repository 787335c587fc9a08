//! What may be printed to a terminal.

/// The first character that acts on a terminal or reorders text, other than colors.
pub fn unsafe_character(text: &str) -> Option<char> {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    // `ESC [ numbers m` is a color.
    let colored = parts.map(|part| {
        let behind = part.trim_start_matches(|it: char| it.is_ascii_digit() || it == ';');
        behind.strip_prefix('m')
    });
    for part in std::iter::once(Some(first)).chain(colored) {
        let Some(part) = part else { return Some('\u{1b}') };
        if let Some(found) = part.chars().find(|it| is_unsafe(*it)) {
            return Some(found);
        }
    }
    None
}

fn is_unsafe(character: char) -> bool {
    let is_bidi = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_bidi || character.is_control() && !matches!(character, '\n' | '\t')
}
