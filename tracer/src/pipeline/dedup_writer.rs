//! An output that notes each written report in the [`Journal`], so that the next run does not
//! write it again.
//!
//! A SIGKILL can come between the write and the note. For a file, the journal has the offset and
//! the length of the report *before* it is written, so the file's size shows whether it was
//! written; a torn end is cut off and written again. For a pipe, a socket or a terminal nothing
//! shows that, so the report is written again: a reader can drop a report whose `id` it has seen,
//! but cannot get one that was never written. That can only happen between two system calls.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    rc::Rc,
};

use rustix::fs::{OFlags, fcntl_getfl, tell};

use crate::bpf::journal::{Entry, Journal, Note, SharedJournal, WriteIntent};

/// The note for the next report. The pipeline sets it.
pub type CurrentNote = Rc<Cell<Option<Note>>>;

/// Writes to an output, and the notes to the journal. A flush writes everything with one call.
pub struct DedupWriter {
    out: File,
    text: Vec<u8>,
    note: CurrentNote,
    journal: SharedJournal,
}

impl DedupWriter {
    /// A writer to a file, a pipe or a terminal.
    pub fn new(out: File, note: CurrentNote, journal: SharedJournal) -> Self {
        Self { out, text: Vec::new(), note, journal }
    }

    fn put(&self, entry: &Entry) {
        // If the journal is full, a tracer that starts after a crash repeats the report.
        let _ = self.journal.borrow_mut().put(entry);
    }
}

impl Write for DedupWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return Ok(());
        }
        let Some(note) = self.note.get() else {
            return self.out.write_all(&text);
        };
        if let Some(intent) = intent(&self.out, text.len()) {
            self.put(&Entry::Intent(note, intent));
        }
        self.out.write_all(&text)?;
        self.put(&Entry::Reported(note));
        Ok(())
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
        cell::{Cell, RefCell},
        fs::{self, File},
        io::{self, Write},
        path::Path,
        rc::Rc,
    };

    use super::{DedupWriter, intent, was_written};
    use crate::bpf::journal::{Entry, FINAL, Journal, Note, Slot, Slots};

    /// Keeps every slot that was ever put.
    struct Log(Rc<RefCell<Vec<(u64, Slot)>>>);

    impl Slots for Log {
        fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
            self.0.borrow_mut().push((key, *slot));
            Ok(())
        }
        fn remove(&mut self, _: u64) {}
        fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
            Ok(self.0.borrow().clone())
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
        let slots = Rc::new(RefCell::new(Vec::new()));
        let (journal, _) = Journal::open(Box::new(Log(Rc::clone(&slots))), 256).unwrap();
        let current = Rc::new(Cell::new(None));
        let journal = Rc::new(RefCell::new(journal));
        let mut out = DedupWriter::new(append(&path), Rc::clone(&current), journal);
        out.write_all(b"no note\n").unwrap();
        out.flush().unwrap();
        assert!(slots.borrow().is_empty());

        let note = Note { key: 7, mark: FINAL };
        current.set(Some(note));
        out.write_all(b"a re").unwrap();
        out.write_all(b"port\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nno note\n");
        out.flush().unwrap();
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
