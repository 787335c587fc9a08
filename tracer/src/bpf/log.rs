//! The probes' debug log on stderr (feature `probe-log`): aya-log, with the smallest logger.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{LevelFilter, Log, Metadata, Record};
use tokio::io::unix::AsyncFd;

use crate::fmt::lines::log_stderr;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        log_stderr(format!("probe: {}", record.args()));
    }

    fn flush(&self) {}
}

/// The ring of the log, which is read beside the one of the events.
pub struct ProbeLog {
    logger: AsyncFd<EbpfLogger<&'static dyn Log>>,
}

impl ProbeLog {
    /// Takes the map of the log out of the loaded object.
    pub fn new(ebpf: &mut Ebpf) -> io::Result<Self> {
        // A second call finds the logger in place.
        let _ = log::set_logger(&Stderr).map(|()| log::set_max_level(LevelFilter::Trace));
        let logger = EbpfLogger::init(ebpf).map_err(io::Error::other)?;
        #[expect(deprecated, reason = "its successor is unsafe; the ring owns its descriptor")]
        let logger = AsyncFd::new(logger)?;
        Ok(Self { logger })
    }

    /// Prints lines until the tracer ends.
    pub async fn print(mut self) -> io::Result<()> {
        loop {
            let mut ready = self.logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
