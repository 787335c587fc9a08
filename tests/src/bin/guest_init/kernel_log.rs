//! The kernel's own account: the records of /dev/kmsg from one moment on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};
use rustix::io::Errno;

/// A place in the kernel's log.
pub(crate) struct KernelLog(File);

impl KernelLog {
    /// Stands at the log's end.
    pub(crate) fn at_end() -> Result<Self> {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits())?;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open("/dev/kmsg")
            .context("/dev/kmsg cannot be opened")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Every record since then, as /dev/kmsg writes them.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>> {
        let mut records = Vec::new();
        let mut record = vec![0; 16 * 1024];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return Ok(records),
                Ok(length) => records.extend_from_slice(&record[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(records),
                // The ring was overrun; the next read goes on behind the gap.
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
                Err(error) => return Err(error).context("/dev/kmsg cannot be read"),
            }
        }
    }
}
