//! The tables in docs/overhead.md, each between two markers; the text around it is written by hand.

use std::path::PathBuf;

use anyhow::Result;
use oomwhy_tests::page;

use crate::workspace;

const FILE: &str = "docs/overhead.md";

#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The table of promises and known misses, which each of these commands writes.
    Promises,
    /// The table of `cargo xtask bench`.
    Kills,
    /// The table of `cargo xtask bench --faults`.
    Faults,
    /// The table of `cargo xtask bench --idle`.
    Idle,
}

impl Part {
    /// The lines around the table.
    fn markers(self) -> [String; 2] {
        let command = match self {
            Self::Promises => "promises",
            Self::Kills => "cargo xtask bench --write",
            Self::Faults => "cargo xtask bench --faults --write",
            Self::Idle => "cargo xtask bench --idle --write",
        };
        ["begin", "end"].map(|mark| format!("<!-- {command}: {mark} -->\n"))
    }
}

/// Replaces a table.
pub(crate) fn update(part: Part, table: &str) -> Result<()> {
    let [begin, end] = part.markers();
    let table = format!("\n{}\n\n", table.trim());
    page::replace(&path(), [&begin, &end], &table)?;
    println!("{FILE} has the new table");
    Ok(())
}

pub(super) fn path() -> PathBuf {
    workspace::root().join(FILE)
}

/// The table in the text of the page.
#[cfg(test)]
pub(super) fn block(page: &str, part: Part) -> Result<&str> {
    let [begin, end] = part.markers();
    page::split(page, [&begin, &end]).map(|(_, block, _)| block)
}
