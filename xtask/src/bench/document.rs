//! The table in docs/overhead.md, between two marks; the words around it are written by hand.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace;

const FILE: &str = "docs/overhead.md";
const BEGIN: &str = "<!-- cargo xtask bench --write: begin -->\n";
const END: &str = "<!-- cargo xtask bench --write: end -->\n";

/// Replaces the table.
pub(crate) fn update(table: &str) -> Result<()> {
    let path = workspace::root().join(FILE);
    let document =
        fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let document = replaced(&document, table)?;
    fs::write(&path, document).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{FILE} has the new table");
    Ok(())
}

fn replaced(document: &str, table: &str) -> Result<String> {
    let lost = || format!("{FILE} has lost its marks: the lines {BEGIN:?} and {END:?}");
    let (before, rest) = document.split_once(BEGIN).with_context(lost)?;
    let (_old, after) = rest.split_once(END).with_context(lost)?;
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = format!("words\n{BEGIN}old\n{END}more words\n");
        let once = replaced(&document, "new\n").unwrap();
        assert_eq!(once, format!("words\n{BEGIN}\nnew\n\n{END}more words\n"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
        assert!(replaced("words", "new").is_err());
    }
}
