//! Reads files that other programs wrote: regular files only, and of limited size.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// The content of a file of at most `max` bytes. A larger file is refused, because a part of it
/// cannot be parsed. A fifo does not block.
pub(crate) fn read(path: &Path, max: u64) -> Option<Vec<u8>> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let file = File::options().read(true).custom_flags(nonblock).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= max).then_some(content)
}

/// The first `max` names in a directory.
pub(crate) fn names(directory: &Path, max: usize) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(max);
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read;

    #[test]
    fn large_or_special_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).as_deref(), Some(b"12345".as_slice()));
        assert_eq!(read(&file, 4), None);
        assert_eq!(read(directory.path(), 5), None);
        assert_eq!(read(&directory.path().join("absent"), 5), None);
    }
}
