//! Files that others wrote: regular ones only, and not more of them than is sane.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// The content of a file of at most `most` bytes. A fifo does not block, a larger file is refused:
/// what is not whole cannot be understood.
pub(crate) fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let file = File::options().read(true).custom_flags(nonblock).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= most).then_some(content)
}

/// Names in a directory, not more than `most`.
pub(crate) fn names(directory: &Path, most: usize) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(most);
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read;

    #[test]
    fn only_small_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).as_deref(), Some(b"12345".as_slice()));
        assert_eq!(read(&file, 4), None);
        assert_eq!(read(directory.path(), 5), None);
        assert_eq!(read(&directory.path().join("absent"), 5), None);
    }
}
