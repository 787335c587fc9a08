//! Columns that text takes on a terminal, and texts cut to a number of them.

use std::{io, os::fd::AsFd};

use unicode_width::UnicodeWidthChar;

/// Columns that a terminal is taken to have if its size is not known.
const TERMINAL: usize = 80;
/// Columns of a terminal that are used at most: longer lines are hard to read.
const MAX_TERMINAL: usize = 100;
/// Columns below which lines are left to the terminal to wrap.
const MIN: usize = 40;

/// Columns of a text that no terminal shows, as in a file.
pub(crate) const DEFAULT: usize = TERMINAL - 1;

/// Columns of text on stdout. A line that is as long as the terminal is wide wraps on some, so one
/// column is left.
pub(crate) fn of_stdout() -> usize {
    of_terminal(terminal_of_stdout())
}

/// Columns of a line on stderr.
pub(crate) fn of_stderr() -> usize {
    #[expect(clippy::disallowed_methods, reason = "it asks for the size only")]
    of_terminal(terminal(io::stderr()))
}

fn of_terminal(columns: Option<usize>) -> usize {
    let columns = columns.unwrap_or(TERMINAL).min(MAX_TERMINAL);
    columns.saturating_sub(1).max(MIN)
}

/// Columns of help, which goes to stdout, and of usage errors.
pub(crate) fn help() -> usize {
    of_stdout() + 1
}

/// Columns of stdout if it is a terminal.
pub(crate) fn terminal_of_stdout() -> Option<usize> {
    #[expect(clippy::disallowed_methods, reason = "it asks for the size only")]
    terminal(io::stdout())
}

/// `None` for a file or a pipe, and for a serial console, which reports 0.
fn terminal(out: impl AsFd) -> Option<usize> {
    let columns = usize::from(rustix::termios::tcgetwinsize(out).ok()?.ws_col);
    Some(columns).filter(|&columns| columns > 0)
}

const ELLIPSIS: &str = "...";

/// Columns a text takes; at least one for each character: a name of combining characters alone
/// must not be of any length.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

pub(super) fn char_columns(character: char) -> usize {
    character.width().unwrap_or(1).max(1)
}

/// The longest beginning of a text that fits `width` columns.
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
    let all_columns = columns(rest);
    // The longest tail that fits. Its columns are those of all less those of the names before it.
    let fit = |room: usize| {
        let (mut tail, mut left) = (rest, all_columns);
        while left > room {
            let (name, behind) = tail.split_once('/')?;
            (tail, left) = (behind, left - columns(name) - 1);
        }
        Some(tail)
    };
    let behind = |head: String| Some(format!("{head}{}", fit(width.checked_sub(columns(&head))?)?));
    let with_first = is_whole.then(|| behind(format!("/{first}/{ELLIPSIS}/"))).flatten();
    with_first.or_else(|| behind(format!("{ELLIPSIS}/")))
}

#[cfg(test)]
mod tests {
    use super::{columns, cut, elide, of_terminal};

    #[test]
    fn page_is_as_wide_as_the_terminal_within_bounds() {
        let widths = [None, Some(80), Some(60), Some(10), Some(100), Some(400)].map(of_terminal);
        assert_eq!(widths, [79, 79, 59, 40, 99, 99]);
    }

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
    fn time_to_elide_is_linear() {
        let path = |names: usize| "/a".repeat(names);
        let (short, long) = (path(20_000), path(40_000));
        crate::fmt::timing::assert_linear(|| elide(&short, 79), || elide(&long, 79));
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
