//! Into the history, by a thread of its own: a disk that is slow, as disks are when memory is short,
//! must not keep the ring from being drained.
//!
//! What cannot be stored is said on stderr once, and once more when storing works again: the other
//! outputs are not held up, and every further report is a new try.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use jiff::Timestamp;

use crate::{
    history::{
        HistoryError,
        store::{Limits, Store},
    },
    model::report::Record,
    pipeline::sink::{Sink, SinkError},
};

/// Lines that wait for the disk. A report is some KiB: 2 MiB or so at the worst.
const QUEUE: usize = 256;
/// Bytes of the thread's stack; locked memory, where memory is locked.
const STACK_BYTES: usize = 256 << 10;

/// Where and how much.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory.
    pub path: PathBuf,
    /// How much is kept.
    pub limits: Limits,
    /// The boot whose reports are stored.
    pub boot_id: String,
}

/// What is said to the user.
pub(crate) type Talk = Box<dyn Fn(&str) + Send>;

/// Writes closed records to the history.
#[derive(Debug)]
pub(crate) struct StoreSink {
    queue: Option<SyncSender<Vec<u8>>>,
    /// Lines for which the queue had no room.
    overflow: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl StoreSink {
    /// Opens the history. Fails at what will not pass by itself; a full disk may.
    pub(crate) fn start(place: Place, talk: Talk) -> Result<Self, HistoryError> {
        let writer = Writer::start(place, talk)?;
        let (queue, lines) = sync_channel(QUEUE);
        let overflow = Arc::new(AtomicU64::new(0));
        let overflow_there = Arc::clone(&overflow);
        let path = writer.place.path.clone();
        let thread = thread::Builder::new()
            .name("oomwhy-history".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run(&lines, &overflow_there))
            .map_err(|source| HistoryError::Open { path, source })?;
        Ok(Self { queue: Some(queue), overflow, thread: Some(thread) })
    }
}

impl Sink for StoreSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let line = line(record)?;
        if let Some(queue) = &self.queue
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(line)
        {
            self.overflow.fetch_add(1, Ordering::Relaxed);
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
    /// Waits until everything is stored.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked: nothing is left to be done then.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Writer {
    place: Place,
    store: Option<Store>,
    /// Lines that could not be stored since it last worked, plus one for the word about it.
    failed: u64,
    talk: Talk,
}

impl Writer {
    fn start(place: Place, talk: Talk) -> Result<Self, HistoryError> {
        let mut writer = Self { place, store: None, failed: 0, talk };
        match writer.open() {
            Err(error) if error.may_pass() => writer.fail(&error, 0),
            opened => opened?,
        }
        Ok(writer)
    }

    fn run(mut self, lines: &Receiver<Vec<u8>>, overflow: &AtomicU64) {
        for line in lines {
            self.take(&line);
            match overflow.swap(0, Ordering::Relaxed) {
                0 => {}
                count => (self.talk)(&format!(
                    "history: {count} reports not stored: the disk is too slow"
                )),
            }
        }
        self.finish();
    }

    fn take(&mut self, line: &[u8]) {
        match self.store(line) {
            Ok(()) => self.recover(),
            Err(error) => self.fail(&error, 1),
        }
    }

    fn finish(&self) {
        if self.failed > 1 {
            (self.talk)(&format!("history: {} reports were not stored", self.failed - 1));
        }
    }

    fn open(&mut self) -> Result<(), HistoryError> {
        if self.store.is_none() {
            let Place { path, limits, boot_id } = &self.place;
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

    fn fail(&mut self, error: &HistoryError, lines: u64) {
        if self.failed == 0 {
            self.failed = 1;
            let why = with_source(error);
            (self.talk)(&format!(
                "{why}; reports are printed, and storing is tried again with each"
            ));
        }
        self.failed += lines;
    }

    fn recover(&mut self) {
        if self.failed > 0 {
            let (path, lost) = (&self.place.path, self.failed - 1);
            (self.talk)(&format!(
                "history: {} takes reports again, {lost} were not stored",
                path.display()
            ));
            self.failed = 0;
        }
    }
}

fn with_source(error: &HistoryError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
