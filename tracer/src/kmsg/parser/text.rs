//! Splits a text of any length into lines, in bounded memory.

use std::io::{self, BufRead};

/// Bytes of a line that are kept; the kernel prints at most 8 KiB.
const MAX_BYTES: usize = 16 * 1024;

/// Reads lines; each is cut if it is longer than any line of the kernel.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// The next line without its end; `None` at the end of the text.
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
            let room = MAX_BYTES.saturating_sub(self.line.len()).min(part.len());
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

    use super::{Lines, MAX_BYTES};

    #[test]
    fn long_line_is_cut_and_none_is_lost() {
        let text = format!("a\n\n{}\nlast", "x".repeat(3 * MAX_BYTES));
        let mut lines = Lines::new(BufReader::with_capacity(7, text.as_bytes()));
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push(line.len());
        }
        assert_eq!(read, [1, 0, MAX_BYTES, 4]);
    }

    #[test]
    fn line_without_end_is_read_in_bounded_memory() {
        let zeros = BufReader::new(repeat(0).take(64 << 20));
        let mut lines = Lines::new(zeros);
        assert_eq!(lines.next_line().unwrap().map(<[u8]>::len), Some(MAX_BYTES));
        assert!(lines.line.capacity() <= 2 * MAX_BYTES);
        assert_eq!(lines.next_line().unwrap(), None);
    }
}
