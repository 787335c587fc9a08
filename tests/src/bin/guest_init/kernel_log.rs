//! Reads the records of /dev/kmsg from one moment on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;

/// The interval of reads, short enough that the log's ring does not overflow.
const READ_EVERY: Duration = Duration::from_millis(50);

/// A thread that reads the kernel's log.
pub(crate) struct KernelLog {
    reader: JoinHandle<Result<Vec<u8>>>,
    is_over: Arc<AtomicBool>,
}

impl KernelLog {
    /// Starts at the end of the log.
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
                // The flag is read before the last read of the log, not after it.
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

    /// Ends the thread, and returns every record since the start in the format of /dev/kmsg.
    pub(crate) fn end(self) -> Result<Vec<u8>> {
        self.is_over.store(true, Ordering::Release);
        self.reader.join().unwrap_or_else(|_| bail!("the reader of /dev/kmsg panicked"))
    }
}

/// Reads the available records.
fn read(file: &mut File, records: &mut Vec<u8>) -> Result<()> {
    let mut record = vec![0; 16 * 1024];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(()),
            Ok(length) => records.extend_from_slice(&record[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The ring overflowed. The next read continues after the gap.
            Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
            Err(error) => return Err(error).context("/dev/kmsg cannot be read"),
        }
    }
}
