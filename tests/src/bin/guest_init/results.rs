//! The results of the guest: files below one directory, sent through the second serial port.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oomwhy_tests::outbox;
use oomwhy_tests::plan::END_MARKER;
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

const ROOT: &str = "/results";
/// The second serial port of the machine. On arm64 it is the first one of its kind.
const SERIAL_PORT: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyS0" } else { "/dev/ttyS1" };

/// Makes an empty directory with this name.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    let path = Path::new(ROOT).join(name);
    fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

/// Sends a directory and removes it, because it is in the guest's memory.
pub(crate) fn send(directory: &Path) -> Result<()> {
    let serial = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(SERIAL_PORT)
        .with_context(|| format!("{SERIAL_PORT} cannot be opened"))?;
    let mut mode = tcgetattr(&serial)?;
    mode.make_raw();
    tcsetattr(&serial, OptionalActions::Now, &mode)?;
    outbox::send(&serial, Path::new(ROOT), directory)?;
    tcdrain(&serial)?;
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// Stores a file that is sent at the end.
pub(crate) fn store(name: &str, content: impl AsRef<[u8]>) -> Result<()> {
    let path = directory("")?.join(name);
    fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))
}

/// Sends the marker that the plan was carried out.
pub(crate) fn send_end() -> Result<()> {
    store(END_MARKER, "")?;
    send(Path::new(ROOT))
}
