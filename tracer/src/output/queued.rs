//! An output on a thread of its own. A reader that stops reading, a full disk or a disk that hangs
//! affects this output alone: not the other outputs, not the tracing, and not the end of the run.

use std::{
    io::{self, ErrorKind, Write},
    time::Duration,
};

use crate::{
    bpf::journal::Note,
    host::{
        threads::ThreadName,
        worker::{Work, Worker},
    },
    model::report::LossReason,
    pipeline::{
        dedup_writer::{DedupWriter, Notes, Undelivered},
        output_health::OutputHealth,
    },
};

/// Records and bytes that wait for the thread at most.
const MAX_QUEUED: usize = 1024;
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How long the end of a run waits for the reader.
const EXIT_DEADLINE: Duration = Duration::from_millis(500);

/// Collects a record, and queues it for the thread when it is flushed.
pub(crate) struct QueuedWriter {
    worker: Worker<Queued>,
    record: Vec<u8>,
    /// With a journal: the note that belongs to the current record.
    notes: Notes,
    health: OutputHealth,
}

/// A record for the thread.
struct Queued {
    record: Vec<u8>,
    note: Option<Note>,
}

/// What the thread writes to.
enum Out {
    Plain(Box<dyn Write + Send>),
    /// It also writes the notes to the journal.
    Noted(DedupWriter),
}

impl QueuedWriter {
    /// Starts the thread, which writes to `out` and flushes each record.
    pub(crate) fn start(
        out: impl Write + Send + 'static,
        health: OutputHealth,
    ) -> io::Result<Self> {
        Self::start_thread(Out::Plain(Box::new(out)), Notes::default(), health)
    }

    /// Starts the thread for the output of several runs. The journal keeps each report until the
    /// thread has written it.
    pub(crate) fn start_noted(
        out: DedupWriter,
        notes: Notes,
        health: OutputHealth,
    ) -> io::Result<Self> {
        Self::start_thread(Out::Noted(out), notes, health)
    }

    fn start_thread(out: Out, notes: Notes, health: OutputHealth) -> io::Result<Self> {
        let writer = Writer { out, undelivered: notes.undelivered.clone(), health: health.clone() };
        let worker = Worker::start(ThreadName::Output, MAX_QUEUED, writer)?;
        Ok(Self { worker, record: Vec::new(), notes, health })
    }
}

impl Write for QueuedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.record.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Queues the record. A record that finds no room is counted.
    fn flush(&mut self) -> io::Result<()> {
        if self.health.is_gone() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let record = std::mem::take(&mut self.record);
        if record.is_empty() {
            return Ok(());
        }
        let (length, note) = (record.len(), self.notes.current.get());
        let has_room = self.health.enqueue(length, MAX_QUEUED_BYTES);
        self.notes.undelivered.add(note);
        if !has_room || !self.worker.send(Queued { record, note }) {
            self.notes.undelivered.remove(note);
            if has_room {
                self.health.dequeue(length);
            }
            let why = "the output takes no more records, because it is slow or blocked";
            self.health.lose(1, LossReason::QueueFull, why);
        }
        Ok(())
    }
}

impl Drop for QueuedWriter {
    /// Waits a moment until everything is written. A blocked output is left behind.
    fn drop(&mut self) {
        self.worker.finish(EXIT_DEADLINE);
        self.health.end();
    }
}

/// The thread's side.
struct Writer {
    out: Out,
    undelivered: Undelivered,
    health: OutputHealth,
}

impl Work<Queued> for Writer {
    fn handle(&mut self, Queued { record, note }: Queued) {
        let written = match &mut self.out {
            Out::Plain(out) => out.write_all(&record).and_then(|()| out.flush()),
            Out::Noted(out) => out.write_record(&record, note),
        };
        match written {
            Ok(()) => {
                self.undelivered.remove(note);
                self.health.works();
            }
            // Another run may have another reader, so its reports stay undelivered.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.health.leave(),
            Err(error) => {
                self.undelivered.remove(note);
                self.health.lose(1, LossReason::WriteFailed, &error.to_string());
            }
        }
        self.health.dequeue(record.len());
        if note.is_some() {
            // The journal need not keep it any more.
            self.health.wake_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::OpenOptions,
        io::{ErrorKind, Read as _, Write as _},
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    };

    use tokio::sync::Notify;

    use super::{MAX_QUEUED_BYTES, QueuedWriter};
    use crate::{model::report::LossStage, pipeline::output_health::OutputHealth};

    fn health() -> (OutputHealth, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&lines);
        let log = Arc::new(move |line: &str| logged.lock().unwrap().push(line.to_owned()));
        (OutputHealth::new("out", LossStage::Queue, log, Arc::new(Notify::new())), lines)
    }

    fn write(to: &mut QueuedWriter, record: &[u8]) {
        to.write_all(record).unwrap();
        to.flush().unwrap();
    }

    /// The condition comes true within 20 s.
    fn await_that(mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn blocked_reader_loses_records_and_blocks_nobody() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (health, lines) = health();
        let mut out = QueuedWriter::start(writer, health.clone()).unwrap();
        let record = vec![b'x'; 1 << 20];
        let n_records = 2 * MAX_QUEUED_BYTES / record.len();
        for _ in 0..n_records {
            write(&mut out, &record);
        }
        assert_eq!(lines.lock().unwrap().len(), 1, "{lines:?}");
        // The reader reads again: the queued records come whole, and the others are counted.
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read.len()
        });
        let mut lost = None;
        await_that(|| {
            lost = lost.or_else(|| health.take_loss());
            lost.is_some()
        });
        drop(out);
        let n_read = reading.join().unwrap();
        assert_eq!(n_read % record.len(), 0);
        let n_lost = usize::try_from(lost.unwrap().count).unwrap();
        assert_eq!(n_read / record.len() + n_lost, n_records);
    }

    #[test]
    fn blocked_reader_does_not_delay_the_end() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let (health, lines) = health();
        let mut out = QueuedWriter::start(writer, health).unwrap();
        write(&mut out, &vec![b'x'; 1 << 20]);
        write(&mut out, b"second");
        let begin = Instant::now();
        drop(out);
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!(*lines.lock().unwrap(), ["out: 2 records were not written"]);
    }

    #[test]
    fn full_disk_is_logged_once() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (health, lines) = health();
        let mut out = QueuedWriter::start(full, health).unwrap();
        for _ in 0..3 {
            write(&mut out, b"record\n");
        }
        drop(out);
        let lines = lines.lock().unwrap();
        let [begin, end] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(begin.contains("No space left on device"), "{begin}");
        assert_eq!(end, "out: 3 records were not written");
    }

    #[test]
    fn closed_reader_is_no_loss() {
        let (reader, writer) = std::io::pipe().unwrap();
        let (health, lines) = health();
        let mut out = QueuedWriter::start(writer, health.clone()).unwrap();
        drop(reader);
        write(&mut out, b"record\n");
        await_that(|| health.is_gone());
        let error = out.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        drop(out);
        assert!(lines.lock().unwrap().is_empty(), "{lines:?}");
    }
}
