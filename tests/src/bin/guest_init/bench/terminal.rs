//! A terminal for tools that buffer their output to a pipe.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::MountFlags;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

const DEVPTS: &str = "/dev/pts";

/// Opens a terminal, and returns the controlling end, which is read, and the end for the tool.
pub(super) fn open() -> Result<(File, File)> {
    mount()?;
    let controller =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no terminal can be opened")?;
    unlockpt(&controller)?;
    let name = ptsname(&controller, Vec::new())?.into_string()?;
    let user = File::options()
        .read(true)
        .write(true)
        .open(&name)
        .with_context(|| format!("{name} cannot be opened"))?;
    Ok((controller.into(), user))
}

fn mount() -> Result<()> {
    if Path::new(DEVPTS).join("ptmx").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(DEVPTS)?;
    rustix::mount::mount("none", DEVPTS, "devpts", MountFlags::empty(), None)
        .context("devpts cannot be mounted")
}
