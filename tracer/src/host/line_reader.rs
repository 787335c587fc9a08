//! Reads lines of a file that anybody may have written, in memory that is bounded.

use std::io::{self, BufRead, Read as _};

/// How a line was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The line, its newline included unless it is the last one.
    Complete,
    /// It was read to its end, and is not kept.
    TooLong,
    End,
}

/// Reads a line of at most `max` bytes into `line`, which is cleared before. Returns the bytes that
/// were read, too.
pub(crate) fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    max: usize,
) -> io::Result<(Line, u64)> {
    let limit = max as u64;
    line.clear();
    let mut length = input.by_ref().take(limit).read_until(b'\n', line)? as u64;
    if length == 0 {
        return Ok((Line::End, 0));
    }
    if length < limit || line.last() == Some(&b'\n') {
        return Ok((Line::Complete, length));
    }
    loop {
        line.clear();
        let more = input.by_ref().take(limit).read_until(b'\n', line)? as u64;
        length += more;
        if more == 0 || line.last() == Some(&b'\n') {
            line.clear();
            return Ok((Line::TooLong, length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, read_line};

    #[test]
    fn long_line_is_skipped_to_its_end() {
        let mut input = &b"ab\n0123456789\ncde\n\nf"[..];
        let mut line = Vec::new();
        let mut read = || {
            let (kind, length) = read_line(&mut input, &mut line, 4).unwrap();
            (kind, length, String::from_utf8(line.clone()).unwrap())
        };
        assert_eq!(read(), (Line::Complete, 3, "ab\n".to_owned()));
        assert_eq!(read(), (Line::TooLong, 11, String::new()));
        assert_eq!(read(), (Line::Complete, 4, "cde\n".to_owned()));
        assert_eq!(read(), (Line::Complete, 1, "\n".to_owned()));
        assert_eq!(read(), (Line::Complete, 1, "f".to_owned()));
        assert_eq!(read(), (Line::End, 0, String::new()));
    }
}
