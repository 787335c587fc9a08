//! Changes settings of the machine for one scenario.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::plan::{BUSYBOX, SWAP_DEVICE};

use crate::mounts;

/// A change to undo.
enum Change {
    Setting(PathBuf, Vec<u8>),
    Mount(&'static str),
    Swap,
}

/// The changes of a scenario, oldest first.
#[derive(Default)]
pub(crate) struct Settings(Vec<Change>);

impl Settings {
    /// Writes to a file. If the file is a setting, its old content is restored later.
    pub(crate) fn write(&mut self, file: &Path, value: &str) -> Result<()> {
        if file.starts_with("/proc/sys") {
            self.0.push(Change::Setting(file.to_owned(), fs::read(file)?));
        }
        write(file, value.as_bytes())
    }

    /// Mounts a file system.
    pub(crate) fn mount(&mut self, kind: &str, target: &'static str, options: &str) -> Result<()> {
        mounts::mount(kind, target, options)?;
        self.0.push(Change::Mount(target));
        Ok(())
    }

    /// Uses the disk as swap.
    pub(crate) fn swap_on(&mut self) -> Result<()> {
        busybox(&["mkswap", SWAP_DEVICE])?;
        busybox(&["swapon", SWAP_DEVICE])?;
        self.0.push(Change::Swap);
        Ok(())
    }

    /// Undoes all changes, the last one first: a mount may lie above another.
    pub(crate) fn restore(self) -> Result<()> {
        self.0.into_iter().rev().try_for_each(|change| match change {
            Change::Setting(file, value) => write(&file, &value),
            Change::Mount(target) => mounts::unmount(target),
            Change::Swap => busybox(&["swapoff", SWAP_DEVICE]),
        })
    }
}

fn write(file: &Path, value: &[u8]) -> Result<()> {
    fs::write(file, value).with_context(|| {
        format!("{:?} cannot be written to {}", value.escape_ascii().to_string(), file.display())
    })
}

fn busybox(args: &[&str]) -> Result<()> {
    let output = Command::new(BUSYBOX).args(args).output().context("there is no busybox")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{} failed: {stderr}", args.join(" "));
    Ok(())
}
