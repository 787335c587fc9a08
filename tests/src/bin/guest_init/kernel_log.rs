//! The kernel's own account: the records of /dev/kmsg from one moment on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;

/// How often the log is read: its ring must not run over meanwhile.
const READ_EVERY: Duration = Duration::from_millis(50);

/// Reads along, from one moment on.
pub(crate) struct KernelLog {
    reader: JoinHandle<Result<Vec<u8>>>,
    is_over: Arc<AtomicBool>,
}

impl KernelLog {
    /// Begins at the log's end.
    pub(crate) fn follow() -> Result<Self> {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits())?;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open("/dev/kmsg")
            .context("/dev/kmsg cannot be opened")?;
        file.seek(SeekFrom::End(0))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let reader = thread::spawn(move || {
            let mut records = Vec::new();
            loop {
                // Asked before the last reading, not after it.
                let is_last = over.load(Ordering::Acquire);
                read(&mut file, &mut records)?;
                if is_last {
                    return Ok(records);
                }
                thread::sleep(READ_EVERY);
            }
        });
        Ok(Self { reader, is_over })
    }

    /// Every record since then, as /dev/kmsg writes them.
    pub(crate) fn end(self) -> Result<Vec<u8>> {
        self.is_over.store(true, Ordering::Release);
        self.reader.join().unwrap_or_else(|_| bail!("the reader of /dev/kmsg panicked"))
    }
}

/// Reads what is there.
fn read(file: &mut File, records: &mut Vec<u8>) -> Result<()> {
    let mut record = vec![0; 16 * 1024];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(()),
            Ok(length) => records.extend_from_slice(&record[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The ring was overrun; the next read goes on behind the gap.
            Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
            Err(error) => return Err(error).context("/dev/kmsg cannot be read"),
        }
    }
}
