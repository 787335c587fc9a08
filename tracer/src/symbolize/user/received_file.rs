//! Files that the helper process received as descriptors. It has no capabilities, so it can read
//! them, but it may not be allowed to open them by a path, as blazesym does.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
};

use rustix::fs::{MemfdFlags, memfd_create};

/// Bytes of all files that may be copied, because they cannot be opened.
const MAX_COPIED_BYTES: u64 = 64 << 20;

/// A file, and a path by which it can be opened while this value lives.
#[derive(Debug)]
pub(super) struct ReceivedFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl ReceivedFile {
    fn new(file: File) -> Self {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Self { file, path }
    }
}

/// Prepares the descriptors. A file that cannot be opened is replaced by a copy in memory, as long
/// as there is room.
pub(super) fn receive(descriptors: Vec<OwnedFd>) -> Vec<ReceivedFile> {
    let mut left = MAX_COPIED_BYTES;
    let prepare = |descriptor: OwnedFd| {
        let received = ReceivedFile::new(descriptor.into());
        if File::open(&received.path).is_ok() {
            return received;
        }
        let copy = copy(&received.file, &mut left).map(ReceivedFile::new);
        copy.unwrap_or(received)
    };
    descriptors.into_iter().map(prepare).collect()
}

/// A copy of a file in memory. `None` if it is larger than `left`.
fn copy(file: &File, left: &mut u64) -> Option<File> {
    let bytes = file.metadata().ok()?.len();
    *left = left.checked_sub(bytes)?;
    let mut copy = File::from(memfd_create("copy", MemfdFlags::CLOEXEC).ok()?);
    io::copy(&mut FromStart::new(file).take(bytes), &mut copy).ok()?;
    Some(copy)
}

/// Reads a file from its start. The descriptor's position is shared with other processes.
#[derive(Debug)]
pub(super) struct FromStart<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> FromStart<'a> {
    pub(super) const fn new(file: &'a File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.file.read_at(buffer, self.position)?;
        self.position += n_bytes as u64;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn file_is_read_from_its_start_whatever_its_position_is() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        for _ in 0..2 {
            assert_eq!(io::read_to_string(FromStart::new(&file)).unwrap(), "content");
        }
    }

    #[test]
    fn copy_is_made_only_while_there_is_room() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let mut left = 10;
        let copied = ReceivedFile::new(copy(&file, &mut left).unwrap());
        assert_eq!(std::fs::read_to_string(&copied.path).unwrap(), "content");
        assert!(copy(&file, &mut left).is_none());
    }
}
