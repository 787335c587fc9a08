//! Stores reports in the history, on a worker's thread: when memory is short, disks are slow, and a
//! slow disk must not keep the main loop from draining the ring.
//!
//! If storing fails, the other outputs go on, and every further record is a new attempt.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use crate::{
    fmt::errors::with_sources,
    history::{
        HistoryError,
        store::{Limits, Store},
    },
    host::worker::{Work, Worker},
    model::report::Record,
    pipeline::{
        output_health::OutputHealth,
        sink::{Sink, SinkError},
    },
};

/// Reports that wait for the disk. A report has some KiB, so they take about 2 MiB at most.
const MAX_QUEUED: usize = 256;
/// How long the end of a run waits for the disk.
const EXIT_DEADLINE: Duration = Duration::from_millis(1400);

/// Where reports are stored, and how many.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    /// Directory of the history.
    pub path: PathBuf,
    pub limits: Limits,
    /// The boot whose reports are stored.
    pub boot_id: String,
}

/// Writes closed records to the history.
pub(crate) struct StoreSink {
    worker: Worker<Vec<u8>>,
    health: OutputHealth,
}

impl StoreSink {
    /// Starts the thread.
    pub(crate) fn start(writer: Writer) -> Result<Self, HistoryError> {
        let (path, health) = (writer.config.path.clone(), writer.health.clone());
        let worker = Worker::start("oomwhy-history", MAX_QUEUED, writer)
            .map_err(|source| HistoryError::Open { path, source })?;
        Ok(Self { worker, health })
    }
}

impl Sink for StoreSink {
    /// Queues the record. A record that finds no room is counted at once: the disk may hang.
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        if !self.worker.send(line(record)?) {
            self.health.lose(1, "the disk is too slow");
        }
        Ok(())
    }
}

fn line(record: &Record) -> Result<Vec<u8>, SinkError> {
    let mut line = serde_json::to_vec(record).map_err(SinkError::Encode)?;
    line.push(b'\n');
    Ok(line)
}

impl Drop for StoreSink {
    /// Waits a moment until everything is stored. A disk that hangs is left behind.
    fn drop(&mut self) {
        self.worker.finish(EXIT_DEADLINE);
        self.health.end(self.worker.unhandled());
    }
}

/// The thread's side. It is made before, because opening the history may take more privileges than
/// the thread has.
pub(crate) struct Writer {
    config: StoreConfig,
    store: Option<Store>,
    health: OutputHealth,
}

impl Work<Vec<u8>> for Writer {
    fn handle(&mut self, line: Vec<u8>) {
        match self.store(&line) {
            Ok(()) => self.health.works(),
            Err(error) => self.health.lose(1, &with_sources(&error)),
        }
    }
}

impl Writer {
    /// Opens the history. Fails if that will not work later either. A full disk is no such error.
    pub(crate) fn start(config: StoreConfig, health: OutputHealth) -> Result<Self, HistoryError> {
        let mut writer = Self { config, store: None, health };
        match writer.open() {
            Err(error) if error.may_pass() => writer.health.lose(0, &with_sources(&error)),
            opened => opened?,
        }
        Ok(writer)
    }

    pub(crate) fn health(&self) -> &OutputHealth {
        &self.health
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
}

#[cfg(test)]
mod tests;
