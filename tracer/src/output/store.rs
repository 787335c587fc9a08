//! Stores records in the history, on a worker's thread: when memory is short, disks are slow, and a
//! slow disk must not keep the main loop from draining the ring.
//!
//! If storing fails, the other outputs go on, and every further record is a new attempt. Each
//! record has a number, whether it is stored or lost: so readers see that one is missing.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    fmt::errors::with_sources,
    history::{
        HistoryError,
        moment::Moment,
        store::{Limits, Store},
    },
    host::{
        threads::ThreadName,
        worker::{Work, Worker},
    },
    model::report::{LossReason, Record},
    output::hang_watch::HangWatch,
    pipeline::{
        output_health::OutputHealth,
        sink::{Sink, SinkError},
    },
};

/// Records that wait for the disk at most, and their bytes. Most have a few KiB.
const MAX_QUEUED: usize = 256;
const MAX_QUEUED_BYTES: usize = 8 << 20;
/// How long the end of a run waits for the disk.
const EXIT_DEADLINE: Duration = Duration::from_millis(1400);
/// How often the age of segments is checked. Not at the start: the clock may be set soon after it.
const CHECKS_AGE_EVERY: Duration = Duration::from_mins(15);
/// A record that takes longer is reported: the disk hangs. Disks that work take less, even when
/// memory is short.
const HANGS_AFTER: Duration = Duration::from_secs(5);

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
    worker: Worker<Queued>,
    /// Records that found no room in the queue since the last one that did.
    n_lost: u64,
    health: OutputHealth,
}

/// A record for the thread.
struct Queued {
    /// A JSON object.
    record: Vec<u8>,
    /// Records that were lost just before it.
    n_lost: u64,
}

impl StoreSink {
    /// Starts the thread.
    pub(crate) fn start(mut writer: Writer) -> Result<Self, HistoryError> {
        let (path, health) = (writer.config.path.clone(), writer.health.clone());
        let failed = |source| HistoryError::Open { path: path.clone(), source };
        writer.hang_watch = Some(HangWatch::start(health.clone(), HANGS_AFTER).map_err(failed)?);
        let worker = Worker::start(ThreadName::History, MAX_QUEUED, writer).map_err(failed)?;
        Ok(Self { worker, n_lost: 0, health })
    }
}

impl Sink for StoreSink {
    /// Queues the record. A record that finds no room is counted at once: the disk may hang.
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let record = serde_json::to_vec(record).map_err(SinkError::Encode)?;
        let bytes = record.len();
        let has_room = self.health.enqueue(bytes, MAX_QUEUED_BYTES);
        if has_room && self.worker.send(Queued { record, n_lost: self.n_lost }) {
            self.n_lost = 0;
            return Ok(());
        }
        if has_room {
            self.health.dequeue(bytes);
        }
        self.n_lost += 1;
        self.health.lose(1, LossReason::QueueFull, "the disk is too slow");
        Ok(())
    }
}

impl Drop for StoreSink {
    /// Waits a moment until everything is stored. A disk that hangs is left behind.
    fn drop(&mut self) {
        self.worker.finish(EXIT_DEADLINE);
        self.health.end();
    }
}

/// The thread's side. It is made before, because opening the history may take more privileges than
/// the thread has.
pub(crate) struct Writer {
    config: StoreConfig,
    store: Option<Store>,
    /// Lost records that have no number yet.
    n_unnumbered: u64,
    health: OutputHealth,
    /// Until the thread starts, nobody waits for the disk.
    hang_watch: Option<HangWatch>,
    /// When the age of segments is checked. `None` if it has no limit.
    next_check: Option<Instant>,
}

impl Work<Queued> for Writer {
    fn handle(&mut self, queued: Queued) {
        let _watched = self.hang_watch.as_ref().map(HangWatch::watch);
        match self.store(&queued) {
            Ok(()) => self.health.works(),
            Err(error) => {
                self.health.lose(1, LossReason::WriteFailed, &with_sources(&error));
            }
        }
        self.health.dequeue(queued.record.len());
    }

    fn next_time(&self) -> Option<Instant> {
        self.next_check
    }

    fn on_time(&mut self) {
        self.next_check = Some(Instant::now() + CHECKS_AGE_EVERY);
        let _watched = self.hang_watch.as_ref().map(HangWatch::watch);
        if let Some(store) = &mut self.store {
            // What cannot be removed now is tried again at the next check.
            let _ = store.expire(Moment::now());
        }
    }
}

impl Writer {
    /// Opens the history. Fails if that will not work later either. A full disk is no such error.
    pub(crate) fn start(config: StoreConfig, health: OutputHealth) -> Result<Self, HistoryError> {
        let next_check = config.limits.max_age.map(|_| Instant::now() + CHECKS_AGE_EVERY);
        let (store, hang_watch) = (None, None);
        let mut writer = Self { config, store, n_unnumbered: 0, health, hang_watch, next_check };
        match writer.open() {
            Err(error) if error.may_pass() => {
                writer.health.lose(0, LossReason::WriteFailed, &with_sources(&error));
            }
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
            self.store = Some(Store::open(path, limits.clone(), boot_id, Moment::now())?);
        }
        Ok(())
    }

    fn store(&mut self, queued: &Queued) -> Result<(), HistoryError> {
        self.n_unnumbered += queued.n_lost;
        let opened = self.open();
        let Some(store) = &mut self.store else {
            self.n_unnumbered += 1;
            return opened;
        };
        store.skip(std::mem::take(&mut self.n_unnumbered));
        store.append(&queued.record, Moment::now())
    }
}

#[cfg(test)]
mod tests;
