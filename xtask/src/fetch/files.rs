//! Files of unpacked packages: the shared libraries of a program, and their paths in the guest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Directories of shared libraries: in the packages, and in the guest.
const SHARED: [(&str, &str); 2] =
    [("usr/lib64", "lib64"), ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")];

/// The files below a directory that is laid out as in the guest, each with its path there.
pub(super) fn all(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    Ok(files)
}

fn collect(directory: &Path, name: &str, files: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().display());
        if path.is_dir() {
            collect(&path, &name, files)?;
        } else {
            files.push((path, name));
        }
    }
    Ok(())
}

/// The libraries of these files, with those of the libraries: path, and path in the guest.
pub(super) fn linked(unpacked: &Path, files: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
    let mut there = Vec::new();
    for (from, to) in SHARED {
        let from = unpacked.join(from);
        there.extend(names(&from)?.into_iter().map(|name| (from.join(&name), to, name)));
    }
    let mut found = BTreeMap::new();
    let mut next = files.to_vec();
    while let Some(file) = next.pop() {
        let bytes =
            fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        // A file has the names of its libraries, each with a zero byte at its end.
        let text = String::from_utf8_lossy(&bytes);
        for (path, to, name) in &there {
            if name.contains(".so")
                && text.contains(&format!("{name}\0"))
                && !found.contains_key(path)
            {
                found.insert(path.clone(), format!("{to}/{name}"));
                next.push(path.clone());
            }
        }
    }
    Ok(found)
}

/// Copies a file to its path in the guest, below `root`.
pub(super) fn copy(from: &Path, root: &Path, path: &str) -> Result<()> {
    let to = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    fs::copy(from, &to).with_context(|| format!("{} is missing", from.display()))?;
    Ok(())
}

/// Writes a file below a directory, for tests.
#[cfg(test)]
pub(super) fn write(directory: &Path, path: &str, text: &str) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("{} cannot be read", directory.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
