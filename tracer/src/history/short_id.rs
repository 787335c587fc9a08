//! Short names of reports, to be typed. Pure.
//!
//! A report's id begins with the boot and a time: the beginning is the same for all of a boot. The
//! short one is a hash of it, in letters from k to z: it can be told from a pid, and from the id.

use crate::compose::fingerprint::hash;

/// Fewer letters are no id: too many names of programs would be.
const SHORTEST: usize = 4;
const LETTERS: u32 = 8;

/// The short name of the report with this id: eight letters.
pub fn short_id(id: &str) -> String {
    let hash = hash([id]);
    let letters = (0..LETTERS).map(|index| {
        let digit = (hash >> (60 - 4 * index)) & 0xf;
        // 16 letters: 'k' + 15 is 'z'.
        char::from(b'k' + digit as u8)
    });
    letters.collect()
}

/// Whether a word names the report: the beginning of its short name or of its id, or of the id
/// behind the boot.
pub(crate) fn names(word: &str, id: &str) -> bool {
    word.len() >= SHORTEST
        && (id.starts_with(word)
            || behind_boot(id).starts_with(word)
            || short_id(id).starts_with(word))
}

/// `<time>-<tid>` of `<boot id>-<time>-<tid>`; the boot id has dashes itself.
fn behind_boot(id: &str) -> &str {
    let dash = id.rmatch_indices('-').nth(1);
    dash.and_then(|(at, _)| id.get(at + 1..)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::{names, short_id};

    const ID: &str = "2f0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11-0000000210f0a1b2-4251";

    #[test]
    fn a_short_id_is_eight_letters_and_stays_what_it_is() {
        let short = short_id(ID);
        assert!(short.len() == 8 && short.bytes().all(|it| (b'k'..=b'z').contains(&it)), "{short}");
        assert_eq!(short, SHORT);
        assert_ne!(short, short_id("2f0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11-0000000210f0a1b2-4252"));
    }

    const SHORT: &str = "krmmspom";

    #[test]
    fn a_report_is_named_by_the_beginning_of_any_of_its_names() {
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
