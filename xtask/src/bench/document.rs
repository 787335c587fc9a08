//! The tables in docs/overhead.md, each between two marks; the words around it are written by hand.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace;

const FILE: &str = "docs/overhead.md";

/// One of the tables.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Of `cargo xtask bench`.
    Kills,
    /// Of `cargo xtask bench --faults`.
    Faults,
}

impl Part {
    /// The lines around it.
    fn marks(self) -> [String; 2] {
        let command = match self {
            Self::Kills => "cargo xtask bench --write",
            Self::Faults => "cargo xtask bench --faults --write",
        };
        ["begin", "end"].map(|mark| format!("<!-- {command}: {mark} -->\n"))
    }
}

/// Replaces a table.
pub(crate) fn update(part: Part, table: &str) -> Result<()> {
    let path = workspace::root().join(FILE);
    let document =
        fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let document = replaced(&document, part, table)?;
    fs::write(&path, document).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{FILE} has the new table");
    Ok(())
}

fn replaced(document: &str, part: Part, table: &str) -> Result<String> {
    let [begin, end] = part.marks();
    let lost = || format!("{FILE} has lost its marks: the lines {begin:?} and {end:?}");
    let (before, rest) = document.split_once(begin.as_str()).with_context(lost)?;
    let (_old, after) = rest.split_once(end.as_str()).with_context(lost)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let [begin, end] = Part::Kills.marks();
        let document = format!("words\n{begin}old\n{end}more words\n");
        let once = replaced(&document, Part::Kills, "new\n").unwrap();
        assert_eq!(once, format!("words\n{begin}\nnew\n\n{end}more words\n"));
        assert_eq!(replaced(&once, Part::Kills, "new\n").unwrap(), once);
        assert!(replaced("words", Part::Kills, "new").is_err());
        assert!(replaced(&document, Part::Faults, "new").is_err());
    }
}
