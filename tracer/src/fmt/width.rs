//! Columns that text takes on a terminal, and texts cut to a number of them.

use unicode_width::UnicodeWidthChar;

/// Columns of a report's line: under 80, so that no terminal wraps it.
pub(crate) const REPORT: usize = 79;
/// Columns of a long answer's line (`explain`, `check`): under 100.
pub(crate) const PAGE: usize = 98;

const ELLIPSIS: &str = "...";

/// Columns a text takes; at least one for each character: a name of combining characters alone
/// must not be of any length.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

fn char_columns(character: char) -> usize {
    character.width().unwrap_or(1).max(1)
}

/// As much of the beginning of a text as takes so many columns.
pub(super) fn take_columns(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|&character| {
            used += char_columns(character);
            used <= width
        })
        .collect()
}

/// A text without its end, for one whose beginning matters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    take_columns(text.chars(), width.saturating_sub(ELLIPSIS.len())) + ELLIPSIS
}

/// A text shortened in the middle: a path between its names, anything else anywhere. The end, which
/// differs more, keeps two thirds.
pub(crate) fn elide(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    if let Some(short) = elide_path(text, width) {
        return short;
    }
    let room = width.saturating_sub(ELLIPSIS.len());
    let head = take_columns(text.chars(), room / 3);
    let tail = take_columns(text.chars().rev(), room - room / 3);
    format!("{head}{ELLIPSIS}{}", tail.chars().rev().collect::<String>())
}

/// "/first/.../last", or ".../last", with as many of the last names as there is room for. A path
/// whose first names are not known begins with the ellipsis already.
fn elide_path(text: &str, width: usize) -> Option<String> {
    let is_whole = text.starts_with('/');
    let (first, rest) =
        text.strip_prefix(ELLIPSIS).unwrap_or(text).strip_prefix('/')?.split_once('/')?;
    let tails = || std::iter::successors(Some(rest), |tail| Some(tail.split_once('/')?.1));
    let with_first = tails().map(|tail| format!("/{first}/{ELLIPSIS}/{tail}"));
    let without = tails().map(|tail| format!("{ELLIPSIS}/{tail}"));
    with_first.filter(|_| is_whole).chain(without).find(|path| columns(path) <= width)
}

#[cfg(test)]
mod tests {
    use super::{columns, cut, elide};

    #[test]
    fn long_text_loses_its_middle() {
        assert_eq!(elide("/a/b", 10), "/a/b");
        for (text, width, expected) in [
            ("/kubepods/burstable/pod7/ctr", 22, "/kubepods/.../pod7/ctr"),
            ("/kubepods/burstable/pod7/ctr", 19, "/kubepods/.../ctr"),
            ("/kubepods/burstable/pod7/ctr", 16, ".../pod7/ctr"),
            ("/system.slice/postgresql.service", 16, "/sys...l.service"),
            (".../ube/burstable/pod7/ctr", 18, ".../pod7/ctr"),
            ("kworker/u16:3-events", 12, "kwo...events"),
        ] {
            assert_eq!(elide(text, width), expected);
        }
        for width in 3..40 {
            let path = "/日本/kubepods/burstable/pod7/日本/ctr-app";
            assert!(columns(&elide(path, width)) <= width, "{width}");
        }
    }

    #[test]
    fn cut_text_keeps_its_beginning() {
        assert_eq!(cut("python3 worker.py", 17), "python3 worker.py");
        assert_eq!(cut("python3 worker.py", 10), "python3...");
    }

    #[test]
    fn wide_characters_take_two_columns_and_combining_ones_still_one() {
        assert_eq!(columns("日本"), 4);
        assert_eq!(columns("█▁"), 2);
        assert_eq!(columns("a\u{301}\u{301}"), 3);
    }
}
