//! The content of a segment, compressed or not, in bounded memory.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::ControlFlow::{self, Break},
};

use flate2::bufread::MultiGzDecoder;

use super::{HistoryError, directory::Directory, segment::Segment, store::MAX_SEGMENT_BYTES};
use crate::{
    host::line_reader::{Line, read_line},
    model::report::MAX_RECORD_BYTES,
};

/// A segment with more content than this was not written by this program, and is cut.
const MAX_CONTENT_BYTES: u64 = 3 * MAX_SEGMENT_BYTES;
const BUFFER_BYTES: usize = 1 << 16;

/// The content of a segment from its beginning.
pub(super) type Content = BufReader<io::Take<Box<dyn Read>>>;

/// A line of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundLine<'a> {
    /// Without its newline.
    Complete(&'a [u8]),
    /// The last one, without a newline: it is being written, or was cut off.
    Unterminated(&'a [u8]),
    /// Its content is not kept.
    TooLong,
}

pub(super) fn open(directory: &Directory, segment: &Segment) -> io::Result<Content> {
    let (file, is_compressed) = open_file(directory, segment)?;
    Ok(if is_compressed {
        of(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    } else {
        of(file)
    })
}

/// The content that a reader gives.
pub(super) fn of(reader: impl Read + 'static) -> Content {
    let content: Box<dyn Read> = Box::new(reader);
    BufReader::with_capacity(BUFFER_BYTES, content.take(MAX_CONTENT_BYTES))
}

/// Opens a segment by its current name: it may have been closed after it was listed.
fn open_file(directory: &Directory, segment: &Segment) -> io::Result<(File, bool)> {
    let open = |name: &str| match directory.read(name) {
        Ok(file) => Ok(file),
        Err(HistoryError::Segment { source, .. }) => Err(source),
        Err(error) => Err(io::Error::other(error)),
    };
    match open(&segment.file_name()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.is_compressed => {
            Ok((open(&segment.compressed_name())?, true))
        }
        opened => Ok((opened?, segment.is_compressed)),
    }
}

/// Calls `each` with every line and its offset, until it breaks off. Returns `false` if the content
/// could not be read to its end. A line can take megabytes, so the caller has one `buffer` for all
/// segments.
pub(super) fn each_line(
    content: &mut Content,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(u64, FoundLine<'_>) -> ControlFlow<()>,
) -> bool {
    let mut at = 0;
    loop {
        let Ok((kind, length)) = read_line(content, buffer, MAX_RECORD_BYTES) else {
            return false;
        };
        let goes_on = match (kind, buffer.strip_suffix(b"\n")) {
            (Line::End, _) => Break(()),
            (Line::TooLong, _) => each(at, FoundLine::TooLong),
            (Line::Complete, Some(text)) => each(at, FoundLine::Complete(text)),
            (Line::Complete, None) => {
                let _ = each(at, FoundLine::Unterminated(buffer));
                // The writer may have appended the rest of it meanwhile.
                Break(())
            }
        };
        if goes_on.is_break() {
            return content.get_ref().limit() > 0;
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read},
        ops::ControlFlow::Continue,
    };

    use super::{FoundLine, each_line, of};

    /// A file that grows at each of its ends.
    struct Growing(Vec<&'static [u8]>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let part = if self.0.is_empty() { &[][..] } else { self.0.remove(0) };
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    #[test]
    fn line_that_is_being_written_is_the_last_one() {
        let mut content = of(Growing(vec![b"ab\ncd", b"", b"ef\n"]));
        let mut lines = Vec::new();
        let is_complete = each_line(&mut content, &mut Vec::new(), |at, line| {
            match line {
                FoundLine::Complete(text) => lines.push((at, text.to_vec(), true)),
                FoundLine::Unterminated(text) => lines.push((at, text.to_vec(), false)),
                FoundLine::TooLong => panic!("too long"),
            }
            Continue(())
        });
        assert!(is_complete);
        assert_eq!(lines, [(0, b"ab".to_vec(), true), (3, b"cd".to_vec(), false)]);
    }
}
