//! Stores reports in the history, on a worker's thread: when memory is short, disks are slow, and a
//! slow disk must not keep the main loop from draining the ring.
//!
//! If storing fails, stderr says so once, and once more when it works again. The other outputs go
//! on, and every further report is a new attempt.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    fmt::{errors::with_sources, sanitize::shown, units},
    history::{
        HistoryError,
        store::{Limits, Store},
    },
    host::worker::{Work, Worker},
    model::report::Record,
    pipeline::sink::{Sink, SinkError},
};

/// Reports that wait for the disk. A report has some KiB, so they take about 2 MiB at most.
const MAX_QUEUED: usize = 256;
/// How long the end of a run waits for the disk.
const EXIT_DEADLINE: Duration = Duration::from_secs(30);

/// Where reports are stored, and how many.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    /// Directory of the history.
    pub path: PathBuf,
    pub limits: Limits,
    /// The boot whose reports are stored.
    pub boot_id: String,
}

/// Prints a line on stderr.
pub(crate) type LogStderr = Arc<dyn Fn(&str) + Send + Sync>;

/// Writes closed records to the history.
pub(crate) struct StoreSink {
    worker: Worker<Vec<u8>>,
    log: LogStderr,
}

impl StoreSink {
    /// Opens the history. Fails if that will not work later either. A full disk is no such error.
    pub(crate) fn start(config: StoreConfig, log: LogStderr) -> Result<Self, HistoryError> {
        let path = config.path.clone();
        let writer = Writer::start(config, Arc::clone(&log))?;
        let worker = Worker::start("oomwhy-history", MAX_QUEUED, writer)
            .map_err(|source| HistoryError::Open { path, source })?;
        Ok(Self { worker, log })
    }
}

impl Sink for StoreSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        // The worker reports the number of records that find no room.
        self.worker.send(line(record)?);
        Ok(())
    }
}

fn line(record: &Record) -> Result<Vec<u8>, SinkError> {
    let mut line = serde_json::to_vec(record).map_err(SinkError::Encode)?;
    line.push(b'\n');
    Ok(line)
}

impl Drop for StoreSink {
    /// Waits until everything is stored. A disk that hangs is not waited for.
    fn drop(&mut self) {
        if !self.worker.finish(EXIT_DEADLINE) {
            let seconds = EXIT_DEADLINE.as_secs();
            (self.log)(&format!(
                "history: the last reports may be missing, the disk took longer than {seconds} s"
            ));
        }
    }
}

/// The thread's side.
struct Writer {
    config: StoreConfig,
    store: Option<Store>,
    /// Reports that were not stored since storing failed. `None` while it works.
    lost: Option<u64>,
    log: LogStderr,
}

impl Work<Vec<u8>> for Writer {
    fn handle(&mut self, line: Vec<u8>) {
        match self.store(&line) {
            Ok(()) => self.recover(),
            Err(error) => self.fail(&error, 1),
        }
    }

    fn on_dropped(&mut self, count: u64) {
        (self.log)(&format!(
            "history: {} not stored: the disk is too slow",
            units::count(count, "report")
        ));
    }

    fn on_end(&mut self) {
        if let Some(lost @ 1..) = self.lost {
            let were = if lost == 1 { "was" } else { "were" };
            (self.log)(&format!("history: {} {were} not stored", units::count(lost, "report")));
        }
    }
}

impl Writer {
    fn start(config: StoreConfig, log: LogStderr) -> Result<Self, HistoryError> {
        let mut writer = Self { config, store: None, lost: None, log };
        match writer.open() {
            Err(error) if error.may_pass() => writer.fail(&error, 0),
            opened => opened?,
        }
        Ok(writer)
    }

    fn open(&mut self) -> Result<(), HistoryError> {
        if self.store.is_none() {
            let StoreConfig { path, limits, boot_id } = &self.config;
            self.store = Some(Store::open(path, limits.clone(), boot_id, Timestamp::now())?);
        }
        Ok(())
    }

    fn store(&mut self, line: &[u8]) -> Result<(), HistoryError> {
        self.open()?;
        match &mut self.store {
            Some(store) => store.append(line, Timestamp::now()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: &HistoryError, n_reports: u64) {
        if self.lost.is_none() {
            let why = with_sources(error);
            (self.log)(&format!(
                "{why}; reports are still printed, and each is a new attempt to store"
            ));
        }
        *self.lost.get_or_insert(0) += n_reports;
    }

    fn recover(&mut self) {
        if let Some(lost) = self.lost.take() {
            let path = shown(&self.config.path);
            (self.log)(&format!("history: {path} takes reports again, {lost} were not stored"));
        }
    }
}

#[cfg(test)]
mod tests;
