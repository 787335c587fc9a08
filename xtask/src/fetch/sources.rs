//! Finds Debian's archives in this system's apt sources, in both of their formats.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The two archives that have kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archive {
    /// Releases, backports, unstable.
    Main,
    /// Security updates of stable releases.
    Security,
}

impl Archive {
    /// The last part of such an archive's path, on every mirror.
    const fn path_end(self) -> &'static str {
        match self {
            Self::Main => "debian",
            Self::Security => "debian-security",
        }
    }

    fn is_at(self, uri: &str) -> bool {
        let end = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // Cloud images name a list of mirrors in a file called after the archive.
        end.strip_suffix(".list").unwrap_or(end) == self.path_end()
    }

    /// The URI of this archive on a mirror, from the URI of the mirror's main archive.
    pub(crate) fn of_mirror(self, mirror: &str) -> String {
        let mirror = mirror.trim_end_matches('/');
        match self {
            Self::Main => mirror.to_owned(),
            Self::Security => format!("{mirror}-security"),
        }
    }
}

/// The URI of an archive, if the system's sources have it.
pub(crate) fn find(archive: Archive) -> Result<Option<String>> {
    for path in files()? {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        if let Some(uri) = uris(&text).find(|uri| archive.is_at(uri)) {
            return Ok(Some(uri.to_owned()));
        }
    }
    Ok(None)
}

fn files() -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        for entry in entries {
            files.push(entry?.path());
        }
    }
    files.retain(|path| {
        path.is_file()
            && path
                .extension()
                .is_some_and(|extension| extension == "list" || extension == "sources")
    });
    files.sort();
    Ok(files)
}

/// The URIs of a source list: `deb [options] URI suite ...`, or `URIs: ...` in the newer format.
fn uris(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains(":/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(archive: Archive, text: &str) -> Option<&str> {
        uris(text).find(|uri| archive.is_at(uri))
    }

    #[test]
    fn archive_is_found_in_both_formats() {
        let one_line = "# deb http://old.invalid/debian x main\n\
                        deb [arch=amd64 signed-by=/k.gpg] http://m.invalid/debian/ x main\n\
                        deb http://m.invalid/debian-security x-security main\n";
        let deb822 = "Types: deb\nURIs: http://m.invalid/tools http://m.invalid/debian\n\
                      Suites: x\n\nURIs: http://m.invalid/debian-security/\n";
        for text in [one_line, deb822] {
            let main = found(Archive::Main, text).unwrap();
            assert_eq!(main.trim_end_matches('/'), "http://m.invalid/debian");
            let security = found(Archive::Security, text).unwrap();
            assert_eq!(security.trim_end_matches('/'), "http://m.invalid/debian-security");
        }
    }

    #[test]
    fn foreign_archive_is_ignored() {
        assert_eq!(found(Archive::Main, "deb http://deb.invalid/node_20.x nodistro main"), None);
        assert_eq!(found(Archive::Main, "deb http://archive.invalid/ubuntu noble main"), None);
    }

    #[test]
    fn list_of_mirrors_is_an_archive() {
        let text = "URIs: mirror+file:///etc/apt/mirrors/debian-security.list";
        assert!(found(Archive::Security, text).is_some());
        assert_eq!(found(Archive::Main, text), None);
    }
}
