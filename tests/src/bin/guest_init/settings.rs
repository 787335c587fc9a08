//! Settings of the kernel that a scenario changes for its own time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What was there before, oldest first.
#[derive(Default)]
pub(crate) struct Settings(Vec<(PathBuf, Vec<u8>)>);

impl Settings {
    /// Writes to a file; remembers what it held if it is a setting.
    pub(crate) fn write(&mut self, file: &Path, value: &str) -> Result<()> {
        if file.starts_with("/proc/sys") {
            self.0.push((file.to_owned(), fs::read(file)?));
        }
        fs::write(file, value)
            .with_context(|| format!("{value:?} cannot be written to {}", file.display()))
    }

    /// Puts everything back.
    pub(crate) fn restore(self) -> Result<()> {
        for (file, value) in self.0.into_iter().rev() {
            fs::write(&file, value)
                .with_context(|| format!("{} cannot be put back", file.display()))?;
        }
        Ok(())
    }
}
