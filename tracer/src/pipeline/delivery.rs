//! An output that notes in the [`Journal`] what it has written.
//!
//! A SIGKILL can come between the write and the note. Into a file it is told afterwards: where the
//! report goes and how long it is stands in the journal *before* it is written, so the file's size
//! says whether it was; a torn end is cut off, and written again. Of a pipe, a socket or a terminal
//! nothing can be told afterwards: there the report is written again, for one that comes twice
//! has the same `id` and can be dropped, and one that never comes cannot be had back. The time in
//! which that can happen is the one between two system calls.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    rc::Rc,
};

use rustix::fs::{OFlags, fcntl_getfl, tell};

use crate::bpf::journal::{Entry, Journal, Note, Place, SharedJournal};

/// What is being told; set by the pipeline.
pub type Telling = Rc<Cell<Option<Note>>>;

/// The output. What is written goes out whole, with the flush.
pub struct OnceOutput {
    out: File,
    text: Vec<u8>,
    telling: Telling,
    journal: SharedJournal,
}

impl OnceOutput {
    /// An output to this file, pipe or terminal.
    pub fn new(out: File, telling: Telling, journal: SharedJournal) -> Self {
        Self { out, text: Vec::new(), telling, journal }
    }

    fn note(&self, entry: &Entry) {
        // Without room the report is made again by a tracer that starts just after a crash.
        let _ = self.journal.borrow_mut().put(entry);
    }
}

impl Write for OnceOutput {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return Ok(());
        }
        let Some(note) = self.telling.get() else {
            return self.out.write_all(&text);
        };
        if let Some(place) = place(&self.out, text.len()) {
            self.note(&Entry::Intent(note, place));
        }
        self.out.write_all(&text)?;
        self.note(&Entry::Told(note));
        Ok(())
    }
}

/// Where so many bytes would be written; `None` for what is no file.
fn place(out: &File, length: usize) -> Option<Place> {
    let file = out.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let appends = fcntl_getfl(out).ok()?.contains(OFlags::APPEND);
    Some(Place {
        device: file.dev(),
        inode: file.ino(),
        offset: if appends { file.len() } else { tell(out).ok()? },
        length: u64::try_from(length).ok()?,
    })
}

/// Whether what was going to be written there was written. A torn end is cut off.
pub(crate) fn was_written(out: &File, place: &Place) -> bool {
    let Some(file) = out.metadata().ok().filter(std::fs::Metadata::is_file) else {
        return false;
    };
    if (file.dev(), file.ino()) != (place.device, place.inode) {
        return false;
    }
    if file.len() >= place.offset + place.length {
        return true;
    }
    if file.len() > place.offset {
        // Where it cannot be cut off, half a line stays before the whole one.
        let _ = out.set_len(place.offset);
    }
    false
}

/// What was told, by key. What was going to be told when the run before ended is looked up, and
/// noted.
pub fn told(out: &File, entries: &[Entry], journal: &mut Journal) -> BTreeMap<u64, u64> {
    let mut told = BTreeMap::new();
    for entry in entries {
        let note = match entry {
            Entry::Told(note) => note,
            Entry::Intent(note, place) if was_written(out, place) => {
                // Noted or not: now it is known.
                let _ = journal.put(&Entry::Told(*note));
                note
            }
            _ => continue,
        };
        let mark = told.entry(note.key).or_default();
        *mark = note.mark.max(*mark);
    }
    told
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

    use super::{OnceOutput, place, was_written};
    use crate::bpf::journal::{Entry, FINAL, Journal, Note, Slot, Slots};

    /// Everything that was put, and nothing forgotten.
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
    fn what_is_told_is_announced_before_and_noted_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before\n").unwrap();
        let slots = Rc::new(RefCell::new(Vec::new()));
        let (journal, _) = Journal::open(Box::new(Log(Rc::clone(&slots))), 256).unwrap();
        let telling = Rc::new(Cell::new(None));
        let journal = Rc::new(RefCell::new(journal));
        let mut out = OnceOutput::new(append(&path), Rc::clone(&telling), journal);
        out.write_all(b"nobody asks\n").unwrap();
        out.flush().unwrap();
        assert!(slots.borrow().is_empty());

        let note = Note { key: 7, mark: FINAL };
        telling.set(Some(note));
        out.write_all(b"a re").unwrap();
        out.write_all(b"port\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nnobody asks\n");
        out.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nnobody asks\na report\n");
        let (_, entries) = Journal::open(Box::new(Log(slots)), 256).unwrap();
        let [Entry::Intent(announced, place), Entry::Told(told)] = entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((announced, told), (note, note));
        assert_eq!((place.offset, place.length), (19, 9));
        assert!(was_written(&append(&path), &place));
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before\n").unwrap();
        let announced = place(&append(&path), 9).unwrap();
        for written in ["", "a", "a report"] {
            fs::write(&path, format!("before\n{written}")).unwrap();
            assert!(!was_written(&append(&path), &announced), "{written}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "before\n");
        }
        fs::write(&path, "before\na report\nanother\n").unwrap();
        assert!(was_written(&append(&path), &announced));
        // Another file says nothing.
        assert!(!was_written(&append(&folder.path().join("other")), &announced));
        assert!(place(&File::open("/dev/null").unwrap(), 9).is_none());
    }
}
