//! An output that notes each written report in the [`Journal`], so that the next run does not
//! write it again.
//!
//! A SIGKILL can come between the write and the note. For a file, the journal has the offset and
//! the length of the report *before* it is written, so the file's size shows whether it was
//! written; a torn end is cut off and written again. For a pipe, a socket or a terminal nothing
//! shows that, so the report is written again: a reader can drop a report whose `id` it has seen,
//! but cannot get one that was never written. That can only happen between two system calls.
//!
//! The thread of the output writes, because an output can block. Until it has written a report, the
//! report is [`Undelivered`], and the journal keeps the records that it was made of.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{OFlags, fcntl_getfl, tell};

use crate::bpf::journal::{Entry, Journal, Note, SharedJournal, WriteIntent};

/// The note for the next report. The pipeline sets it.
pub(crate) type CurrentNote = Rc<Cell<Option<Note>>>;

/// An output for several runs.
pub trait Destination: Write + Send {
    /// The file that takes the next record. It may be no regular file.
    fn file(&mut self) -> io::Result<&File>;
}

impl Destination for File {
    fn file(&mut self) -> io::Result<&File> {
        Ok(self)
    }
}

/// The destination of a run, which the run before it may still be writing to.
pub(crate) type SharedDestination = Arc<Mutex<Box<dyn Destination>>>;

/// Writes to an output, and the notes to the journal.
pub struct DedupWriter {
    out: SharedDestination,
    journal: SharedJournal,
}

impl DedupWriter {
    /// A writer to a file, a pipe or a terminal.
    pub fn new(out: SharedDestination, journal: SharedJournal) -> Self {
        Self { out, journal }
    }

    /// Writes a whole record, with notes before and after if there is one for it.
    pub fn write_record(&mut self, record: &[u8], note: Option<Note>) -> io::Result<()> {
        let mut out = lock(&self.out);
        if let Some(note) = note
            && let Some(intent) = intent(out.file()?, record.len())
        {
            self.put(&Entry::Intent(note, intent));
        }
        out.write_all(record)?;
        out.flush()?;
        if let Some(note) = note {
            self.put(&Entry::Reported(note));
        }
        Ok(())
    }

    fn put(&self, entry: &Entry) {
        // If the journal is full, a tracer that starts after a crash repeats the report.
        let _ = lock(&self.journal).put(entry);
    }
}

/// Each change of what is shared is whole, even if a thread panicked.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the main loop and the thread of an output know about the reports that it writes.
#[derive(Clone, Default)]
pub struct Notes {
    /// The note of the record that is being made.
    pub current: CurrentNote,
    /// The reports that are queued.
    pub undelivered: Undelivered,
}

/// The keys of the reports that an output has not written yet, with the number of their records.
#[derive(Clone, Default)]
pub struct Undelivered(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Undelivered {
    /// A record of this report was queued.
    pub fn add(&self, note: Option<Note>) {
        if let Some(Note { key, .. }) = note {
            *lock(&self.0).entry(key).or_default() += 1;
        }
    }

    /// A record of this report was written, or is lost.
    pub fn remove(&self, note: Option<Note>) {
        let Some(Note { key, .. }) = note else { return };
        let mut all = lock(&self.0);
        if let Some(n_records) = all.get_mut(&key) {
            *n_records -= 1;
            if *n_records == 0 {
                all.remove(&key);
            }
        }
    }

    pub(crate) fn keys(&self) -> Vec<u64> {
        lock(&self.0).keys().copied().collect()
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// The intent to write `length` bytes; `None` if the output is no file.
fn intent(out: &File, length: usize) -> Option<WriteIntent> {
    let file = out.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let appends = fcntl_getfl(out).ok()?.contains(OFlags::APPEND);
    Some(WriteIntent {
        device: file.dev(),
        inode: file.ino(),
        offset: if appends { file.len() } else { tell(out).ok()? },
        length: u64::try_from(length).ok()?,
    })
}

/// Whether the intended bytes were written. Cuts off a torn end.
pub(crate) fn was_written(out: &File, intent: &WriteIntent) -> bool {
    let Some(file) = out.metadata().ok().filter(std::fs::Metadata::is_file) else {
        return false;
    };
    if (file.dev(), file.ino()) != (intent.device, intent.inode) {
        return false;
    }
    if file.len() >= intent.offset + intent.length {
        return true;
    }
    if file.len() > intent.offset {
        // If this fails, half a line precedes the whole one.
        let _ = out.set_len(intent.offset);
    }
    false
}

/// How far earlier runs reported each account to this output.
pub(crate) fn reported_to(
    out: &SharedDestination,
    entries: &[Entry],
    journal: &mut Journal,
) -> io::Result<BTreeMap<u64, u64>> {
    let mut out = lock(out);
    let reported = reported_before(out.file()?, entries, journal);
    // A record has not begun.
    out.flush()?;
    Ok(reported)
}

/// How far earlier runs reported each account, by key. If the last one ended between an intent and
/// its note, this looks into the file and adds the note.
pub fn reported_before(out: &File, entries: &[Entry], journal: &mut Journal) -> BTreeMap<u64, u64> {
    let mut reported = BTreeMap::new();
    for entry in entries {
        let note = match entry {
            Entry::Reported(note) => note,
            Entry::Intent(note, intent) if was_written(out, intent) => {
                // If the journal is full, this run still knows it.
                let _ = journal.put(&Entry::Reported(*note));
                note
            }
            _ => continue,
        };
        let mark = reported.entry(note.key).or_default();
        *mark = note.mark.max(*mark);
    }
    reported
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io,
        path::Path,
        sync::{Arc, Mutex},
    };

    use super::{DedupWriter, SharedDestination, Undelivered, intent, lock, was_written};
    use crate::bpf::journal::{Entry, FINAL, Journal, Note, Slot, Slots};

    /// Keeps every slot that was ever put.
    struct Log(Arc<Mutex<Vec<(u64, Slot)>>>);

    impl Slots for Log {
        fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
            lock(&self.0).push((key, *slot));
            Ok(())
        }
        fn remove(&mut self, _: u64) {}
        fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
            Ok(lock(&self.0).clone())
        }
    }

    fn append(path: &Path) -> File {
        File::options().append(true).create(true).open(path).unwrap()
    }

    #[test]
    fn report_is_noted_before_and_after_its_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before\n").unwrap();
        let slots = Arc::new(Mutex::new(Vec::new()));
        let (journal, _) = Journal::open(Box::new(Log(Arc::clone(&slots))), 256).unwrap();
        let destination: SharedDestination = Arc::new(Mutex::new(Box::new(append(&path))));
        let mut out = DedupWriter::new(destination, Arc::new(Mutex::new(journal)));
        out.write_record(b"no note\n", None).unwrap();
        assert!(lock(&slots).is_empty());

        let note = Note { key: 7, mark: FINAL };
        out.write_record(b"a report\n", Some(note)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nno note\na report\n");
        let (_, entries) = Journal::open(Box::new(Log(slots)), 256).unwrap();
        let [Entry::Intent(before, intent), Entry::Reported(after)] = entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((before, after), (note, note));
        assert_eq!((intent.offset, intent.length), (15, 9));
        assert!(was_written(&append(&path), &intent));
    }

    #[test]
    fn report_is_undelivered_until_all_of_its_records_are_written() {
        let (all, note) = (Undelivered::default(), Some(Note { key: 7, mark: FINAL }));
        all.add(None);
        all.add(note);
        all.add(note);
        all.remove(note);
        assert_eq!(all.keys(), [7]);
        all.remove(note);
        all.remove(note);
        assert_eq!(all.keys(), [0; 0]);
    }

    #[test]
    fn torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before\n").unwrap();
        let intended = intent(&append(&path), 9).unwrap();
        for written in ["", "a", "a report"] {
            fs::write(&path, format!("before\n{written}")).unwrap();
            assert!(!was_written(&append(&path), &intended), "{written}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "before\n");
        }
        fs::write(&path, "before\na report\nanother\n").unwrap();
        assert!(was_written(&append(&path), &intended));
        // Another file shows nothing.
        assert!(!was_written(&append(&folder.path().join("other")), &intended));
        assert!(intent(&File::open("/dev/null").unwrap(), 9).is_none());
    }
}
