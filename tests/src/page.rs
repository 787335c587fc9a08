//! Reads and replaces blocks of Markdown pages that programs write between two marker lines.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The texts before a block, of the block, and after it. None contains the markers.
pub fn split<'a>(text: &'a str, [begin, end]: [&str; 2]) -> Result<(&'a str, &'a str, &'a str)> {
    let lost = || format!("the page has lost a marker line: {begin:?} or {end:?}");
    let (before, rest) = text.split_once(begin).with_context(lost)?;
    let (block, after) = rest.split_once(end).with_context(lost)?;
    Ok((before, block, after))
}

/// Replaces the block of a page.
pub fn replace(path: &Path, [begin, end]: [&str; 2], block: &str) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let (before, _, after) =
        split(&text, [begin, end]).with_context(|| path.display().to_string())?;
    fs::write(path, [before, begin, block, end, after].concat())
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_between_its_markers() {
        let markers = ["<begin>\n", "<end>\n"];
        let text = "text\n<begin>\nold\n<end>\nmore\n";
        assert_eq!(split(text, markers).unwrap(), ("text\n", "old\n", "more\n"));
        assert!(split("text", markers).is_err());
        assert!(split("<end>\n<begin>\n", markers).is_err());
    }
}
