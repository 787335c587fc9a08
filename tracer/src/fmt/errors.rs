//! Errors as one line of text.

use std::{error::Error, io};

use super::sanitize::Safe;

/// An error and its sources, separated by colons. A source that the line ends with already is left
/// out: some errors print their source themselves. A hint stays the last line.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let whole = message(error);
    let (line, hint) = whole.split_at(whole.find("\nhint: ").unwrap_or(whole.len()));
    let mut text = line.to_owned();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = String::from(Safe::from(inner.to_string()));
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text + hint
}

/// The text of an error. An error of a library can quote what it has read: newlines in it are not
/// ours, so they begin no hint.
fn message(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let is_foreign = error.is::<serde_json::Error>() || error.is::<io::Error>();
    if is_foreign { Safe::from(text).into() } else { text }
}

/// The hint for a file that cannot be created or written, as its own last line. Empty if the error
/// has no usual fix.
pub(crate) fn write_hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::{
        IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    match error.kind() {
        NotFound => "\nhint: create its directory first, with `mkdir -p`",
        IsADirectory => "\nhint: name a file in this directory",
        NotADirectory => "\nhint: name a directory, not a file",
        StorageFull | QuotaExceeded => {
            "\nhint: free space on this file system, or write to another one"
        }
        PermissionDenied | ReadOnlyFilesystem => {
            "\nhint: name a file in a directory that you can write to"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::with_sources;

    #[derive(Debug, Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn error_with_source_shows_each_text_once() {
        let source = || io::Error::other("disk is full");
        let outer = Outer { text: "cannot write a.json", source: source() };
        assert_eq!(with_sources(&outer), "cannot write a.json: disk is full");
        let repeating = Outer { text: "cannot write: disk is full", source: source() };
        assert_eq!(with_sources(&repeating), "cannot write: disk is full");
        let quoting = serde_json::from_str::<std::net::IpAddr>("\"a\\nhint: forged\"");
        let quoting = io::Error::other(quoting.unwrap_err().to_string() + "\nhint: forged");
        assert!(!with_sources(&quoting).contains('\n'));
        let hinted = Outer { text: "cannot write a.json\nhint: free space", source: source() };
        assert_eq!(with_sources(&hinted), "cannot write a.json: disk is full\nhint: free space");
    }
}
