//! Sends files out of the guest: archives on the second serial port, one per delivery.
//!
//! Each delivery is a newc cpio archive in its own gzip member. So the deliveries before a crash
//! can be read. `zcat serial1 | cpio -t` lists them.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Component, Path};

use anyhow::{Context as _, Result, ensure};
use cpio::newc;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

/// Sends the files of a directory, named relative to `root`.
pub fn send(out: impl Write, root: &Path, directory: &Path) -> Result<()> {
    let mut archive = GzEncoder::new(out, Compression::fast());
    send_directory(&mut archive, root, directory)?;
    let archive = newc::trailer(archive).context("the archive cannot be ended")?;
    archive.finish().context("the archive cannot be compressed")?.flush()?;
    Ok(())
}

fn send_directory(archive: &mut impl Write, root: &Path, directory: &Path) -> Result<()> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("{} cannot be listed", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            send_directory(archive, root, &path)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_str().context("a file name is not UTF-8")?;
        // Files of procfs and sysfs have no size until they are read.
        let content =
            fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut file = newc::Builder::new(name)
            .mode(0o100_644)
            .write(&mut *archive, u32::try_from(content.len())?);
        file.write_all(&content)?;
        file.finish()?;
    }
    Ok(())
}

/// Unpacks every complete delivery, and returns their number.
pub fn unpack(serial: impl Read, target: &Path) -> Result<usize> {
    let mut serial = BufReader::new(serial);
    let mut n_deliveries = 0;
    while !serial.fill_buf()?.is_empty() {
        let mut archive = Vec::new();
        if GzDecoder::new(&mut serial).read_to_end(&mut archive).is_err() {
            break; // The guest died while it sent this one.
        }
        unpack_archive(&archive, target)?;
        n_deliveries += 1;
    }
    Ok(n_deliveries)
}

fn unpack_archive(mut archive: &[u8], target: &Path) -> Result<()> {
    loop {
        let mut file = newc::Reader::new(archive).context("a delivery is not a cpio archive")?;
        if file.entry().is_trailer() {
            return Ok(());
        }
        let name = file.entry().name().to_owned();
        let path = Path::new(&name);
        ensure!(
            path.components().all(|part| matches!(part, Component::Normal(_))),
            "the guest sent a file outside its results: {name:?}"
        );
        let path = target.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut content = Vec::new();
        io::copy(&mut file, &mut content)?;
        fs::write(&path, content)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        archive = file.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_last_delivery_is_skipped() {
        let scratch = std::env::temp_dir().join(format!("oomwhy-outbox-{}", std::process::id()));
        let (from, to) = (scratch.join("from"), scratch.join("to"));
        fs::create_dir_all(from.join("a/deep")).unwrap();
        fs::write(from.join("a/deep/x"), b"first").unwrap();
        let mut serial = Vec::new();
        send(&mut serial, &from, &from.join("a")).unwrap();
        fs::write(from.join("end"), b"").unwrap();
        send(&mut serial, &from, &from).unwrap();
        serial.truncate(serial.len() - 9);

        assert_eq!(unpack(serial.as_slice(), &to).unwrap(), 1);
        assert_eq!(fs::read(to.join("a/deep/x")).unwrap(), b"first");
        assert!(!to.join("end").exists());
        fs::remove_dir_all(scratch).unwrap();
    }
}
