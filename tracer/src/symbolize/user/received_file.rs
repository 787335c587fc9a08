//! Files that the helper process received as descriptors. It has no capabilities, so it can read
//! them, but it may not be allowed to open them by a path, as blazesym does.
//!
//! blazesym maps a file. On a tmpfs, to touch a page in a hole of a mapped file makes a page of
//! memory that stays as long as the file. So a container could make oomwhy allocate far more than
//! the container itself may. Therefore such a file is read into a copy, which takes no page of it.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
};

use rustix::fs::{MemfdFlags, fstatfs, memfd_create};

use crate::symbolize::helper_process::MAX_COPIED_BYTES;

/// The file systems whose files are nowhere but in memory (`linux/magic.h`): tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

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

/// Prepares the descriptors. A file that cannot be opened, or must not be mapped, is replaced by a
/// copy in memory, as long as there is room. One that must not be mapped is then replaced by an
/// empty file. `streams` are the indexes of those that are read from start to end.
pub(super) fn receive(descriptors: Vec<OwnedFd>, streams: &[usize]) -> Vec<ReceivedFile> {
    let mut left = MAX_COPIED_BYTES;
    let prepare = |(index, descriptor): (usize, OwnedFd)| {
        let received = ReceivedFile::new(descriptor.into());
        if streams.contains(&index) {
            return received;
        }
        let in_memory = is_in_memory(&received.file);
        if !in_memory && File::open(&received.path).is_ok() {
            return received;
        }
        let copied = copy(&received.file, &mut left).map(ReceivedFile::new);
        let instead = || if in_memory { empty().map(ReceivedFile::new) } else { None };
        copied.or_else(instead).unwrap_or(received)
    };
    descriptors.into_iter().enumerate().map(prepare).collect()
}

fn is_in_memory(file: &File) -> bool {
    // The kernel's numbers have 32 bits.
    let magic = |file| Some(fstatfs(file).ok()?.f_type.cast_unsigned() & u64::from(u32::MAX));
    magic(file).is_none_or(|magic| IN_MEMORY.contains(&magic))
}

/// A copy of a file in memory. `None` if it is larger than `left`.
fn copy(file: &File, left: &mut u64) -> Option<File> {
    let bytes = file.metadata().ok()?.len();
    *left = left.checked_sub(bytes)?;
    let mut copy = empty()?;
    io::copy(&mut FromStart::new(file).take(bytes), &mut copy).ok()?;
    Some(copy)
}

fn empty() -> Option<File> {
    Some(memfd_create("copy", MemfdFlags::CLOEXEC).ok()?.into())
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

    /// A memfd is a file of a tmpfs.
    #[test]
    fn file_on_a_tmpfs_is_copied_and_a_large_one_is_empty() {
        let (mut small, large) = (empty().unwrap(), empty().unwrap());
        small.write_all(b"content").unwrap();
        large.set_len(MAX_COPIED_BYTES + 1).unwrap();
        let given = [&small, &large, &large].map(|it| OwnedFd::from(it.try_clone().unwrap()));
        let received = receive(given.into(), &[2]);
        let inode = |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        assert_ne!(inode(&received[0].file), inode(&small));
        assert_eq!(std::fs::read(&received[0].path).unwrap(), b"content");
        assert_eq!(std::fs::read(&received[1].path).unwrap(), b"");
        assert_eq!(inode(&received[2].file), inode(&large));
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
