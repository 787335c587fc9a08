//! A file of /proc that is read many times. It is opened once, so that a read needs no memory and
//! no path look-up. It is read by line, so that a long file is never in memory as a whole.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek},
    ops::ControlFlow,
    path::Path,
};

/// Longer files are not read at once.
const MAX_TEXT_BYTES: u64 = 1 << 16;
/// The kernel returns at most this number of bytes at once.
const BUFFER_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct ProcFile {
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl ProcFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        Ok(Self { reader, line: Vec::with_capacity(256) })
    }

    /// Reads the file from its start and calls `see` with each line, without the line end. A line
    /// that is not UTF-8 is skipped.
    pub(crate) fn lines(&mut self, mut see: impl FnMut(&str) -> ControlFlow<()>) -> io::Result<()> {
        self.reader.rewind()?;
        loop {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(());
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            if str::from_utf8(line).is_ok_and(|line| see(line).is_break()) {
                return Ok(());
            }
        }
    }
}

/// A small file of /proc. `None` if it is absent or large.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(MAX_TEXT_BYTES + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MAX_TEXT_BYTES).then_some(content)
}

/// A small file of /proc as text.
pub(crate) fn read_text(path: &Path) -> Option<String> {
    read(path).map(|content| String::from_utf8_lossy(&content).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, ops::ControlFlow};

    use super::{MAX_TEXT_BYTES, ProcFile, read};

    #[test]
    fn read_large_file_gives_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (more, is_read) in [(0, true), (1, false)] {
            let bytes = usize::try_from(MAX_TEXT_BYTES).unwrap() + more;
            fs::write(file.path(), vec![b'x'; bytes]).unwrap();
            assert_eq!(read(file.path()).is_some(), is_read);
        }
        assert_eq!(read(&file.path().join("absent")), None);
    }

    fn lines(file: &mut ProcFile, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        file.lines(|line| {
            lines.push(line.to_owned());
            if line == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        lines
    }

    #[test]
    fn each_read_starts_at_the_beginning_with_current_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"a 1\n\xff\nb 2\nc 3").unwrap();
        let mut open = ProcFile::open(file.path()).unwrap();
        assert_eq!(lines(&mut open, ""), ["a 1", "b 2", "c 3"]);
        assert_eq!(lines(&mut open, "b 2"), ["a 1", "b 2"]);
        fs::write(file.path(), "a 2\n").unwrap();
        assert_eq!(lines(&mut open, ""), ["a 2"]);
        let long = "x".repeat(3 * super::BUFFER_BYTES);
        fs::write(file.path(), &long).unwrap();
        assert_eq!(lines(&mut open, ""), [long]);
    }
}
