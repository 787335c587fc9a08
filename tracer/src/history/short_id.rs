//! Short ids of reports, for people to type. Pure.
//!
//! A report's id begins with the boot and a time, so the ids of one boot begin alike. The short id
//! is a hash of the id in letters from k to z, so that it cannot be mistaken for a pid or the id
//! itself.

use crate::compose::fingerprint::hash;

/// A shorter word is not an id: too many names of programs would be one.
pub(crate) const MIN_LENGTH: usize = 4;
const LETTERS: u32 = 8;

/// The short id of the report with this id: eight letters.
pub fn short_id(id: &str) -> String {
    let hash = hash([id]);
    let letters = (0..LETTERS).map(|index| {
        let digit = (hash >> (60 - 4 * index)) & 0xf;
        // 16 letters: 'k' + 15 is 'z'.
        char::from(b'k' + digit as u8)
    });
    letters.collect()
}

/// Whether a word names the report: it is the beginning of its short id, of its id, or of the id
/// without the boot.
pub(crate) fn names(word: &str, id: &str) -> bool {
    word.len() >= MIN_LENGTH
        && (id.starts_with(word)
            || without_boot(id).starts_with(word)
            || short_id(id).starts_with(word))
}

/// `<time>-<tid>` of `<boot id>-<time>-<tid>`. The boot id contains dashes.
fn without_boot(id: &str) -> &str {
    let dash = id.rmatch_indices('-').nth(1);
    dash.and_then(|(at, _)| id.get(at + 1..)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::{names, short_id};

    const ID: &str = "2f0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11-0000000210f0a1b2-4251";

    #[test]
    fn short_id_has_eight_letters_and_never_changes() {
        let short = short_id(ID);
        assert!(short.len() == 8 && short.bytes().all(|it| (b'k'..=b'z').contains(&it)), "{short}");
        assert_eq!(short, SHORT);
        assert_ne!(short, short_id("2f0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11-0000000210f0a1b2-4252"));
    }

    const SHORT: &str = "krmmspom";

    #[test]
    fn word_names_a_report_if_one_of_its_ids_begins_with_it() {
        for word in
            [ID, "2f0e", "2f0e7d5c-3f5f", "0000000210f0a1b2-4251", "0000", SHORT, &SHORT[..4]]
        {
            assert!(names(word, ID), "{word}");
        }
        for word in ["", "2f0", &SHORT[..3], "4251", "3f5f", "java"] {
            assert!(!names(word, ID), "{word}");
        }
        assert!(names("boot", "boot") && names("1-2-", "1-2-3"));
    }
}
