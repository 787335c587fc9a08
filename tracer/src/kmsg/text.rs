//! Lines of a text of any length, in bounded memory.

use std::io::{self, BufRead};

/// Bytes of a line that are kept; the kernel's own are not longer than 8 KiB.
const LONGEST: usize = 16 * 1024;

/// Reads lines, each cut where it is too long for one of the kernel's.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// The next one, without its end; `None` at the end of the text.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut is_empty = true;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                return Ok((!is_empty).then_some(self.line.as_slice()));
            }
            is_empty = false;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = LONGEST.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or_default());
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read, repeat};

    use super::{LONGEST, Lines};

    #[test]
    fn lines_are_cut_and_none_is_lost() {
        let text = format!("a\n\n{}\nlast", "x".repeat(3 * LONGEST));
        let mut lines = Lines::new(BufReader::with_capacity(7, text.as_bytes()));
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push(line.len());
        }
        assert_eq!(read, [1, 0, LONGEST, 4]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory() {
        let zeros = BufReader::new(repeat(0).take(64 << 20));
        let mut lines = Lines::new(zeros);
        assert_eq!(lines.next_line().unwrap().map(<[u8]>::len), Some(LONGEST));
        assert!(lines.line.capacity() <= 2 * LONGEST);
        assert_eq!(lines.next_line().unwrap(), None);
    }
}
