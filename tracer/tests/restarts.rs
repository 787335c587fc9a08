//! Kills the tracer at many moments of recordings of real kills, and starts it again: all of its
//! runs together print each kill once, even if the output takes records late. The ring, the map and
//! the queue of the output are in memory here; the journal, the pipeline and the rest of the output
//! are the real ones.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use oomwhy::testing::{
    Account, DedupWriter, Detail, Entry, Fact, FactSource, Findings, Frame, Journal, JsonSink,
    Note, Notes, Outputs, Pipeline, PipelineConfig, Recording, Slot, Slots, TextSink, read,
    reported_before,
};
use serde_json::Value;

/// Number of moments at which the tracer dies once, for each recording.
const MOMENTS: u32 = 40;

/// The panic that ends a run.
struct Death;

/// The pinned map. The tracer dies at one of its changes, just before or just after it.
#[derive(Clone, Default)]
struct Map(Arc<Mutex<MapState>>);

#[derive(Default)]
struct MapState {
    slots: BTreeMap<u64, Slot>,
    /// Number of changes before this run dies; `None` if it does not.
    left: Option<u32>,
    dies_after: bool,
    n_changes: u32,
}

impl Map {
    /// A run that dies poisons the lock.
    fn with<T>(&self, work: impl FnOnce(&mut MapState) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Slot>)) {
        self.with(|map| {
            let is_last = map.left == Some(0);
            if is_last && !map.dies_after {
                resume_unwind(Box::new(Death));
            }
            change(&mut map.slots);
            map.n_changes += 1;
            map.left = map.left.map(|left| left.saturating_sub(1));
            if is_last {
                resume_unwind(Box::new(Death));
            }
        });
    }
}

impl Slots for Map {
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
        self.change(|slots| {
            slots.insert(key, *slot);
        });
        Ok(())
    }

    fn remove(&mut self, key: u64) {
        self.change(|slots| {
            slots.remove(&key);
        });
    }

    fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
        Ok(self.with(|map| map.slots.iter().map(|(key, slot)| (*key, *slot)).collect()))
    }
}

type Queue = Rc<RefCell<VecDeque<(Vec<u8>, Option<Note>)>>>;

/// The main loop's side of an output.
struct Queued {
    record: Vec<u8>,
    notes: Notes,
    queue: Queue,
}

impl Write for Queued {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.record.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (record, note) = (std::mem::take(&mut self.record), self.notes.current.get());
        if !record.is_empty() {
            self.notes.undelivered.add(note);
            self.queue.borrow_mut().push_back((record, note));
        }
        Ok(())
    }
}

/// The thread's side. It leaves some records in the queue.
struct Thread {
    writer: DedupWriter,
    notes: Notes,
    queue: Queue,
    n_late: usize,
}

impl Thread {
    fn write_all_but(&mut self, n_late: usize) {
        while self.queue.borrow().len() > n_late {
            let (record, note) = self.queue.borrow_mut().pop_front().unwrap();
            self.writer.write_record(&record, note).unwrap();
            self.notes.undelivered.remove(note);
        }
    }

    fn write(&mut self) {
        self.write_all_but(self.n_late);
    }
}

struct NoSource;

impl FactSource for NoSource {
    fn find(&mut self, _: &Account, _: &mut Findings) {}
}

/// Everything that outlives a run.
struct World<'a> {
    recording: &'a Recording,
    map: Map,
    /// Number of frames that have left the ring.
    n_consumed: Cell<usize>,
    out: PathBuf,
    form: Form,
}

#[derive(Clone, Copy)]
struct Form {
    is_text: bool,
    /// Number of records that stay in the queue of the output while the run goes on.
    n_late: usize,
}

impl World<'_> {
    /// One run of the tracer; returns false if it died.
    fn live(&self, dies: Option<(u32, bool)>) -> bool {
        self.map.with(|map| {
            map.left = dies.map(|(changes, _)| changes);
            map.dies_after = dies.is_some_and(|(_, after)| after);
        });
        match catch_unwind(AssertUnwindSafe(|| self.run())) {
            Ok(()) => true,
            Err(death) if death.is::<Death>() => false,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn run(&self) {
        let out = File::options().append(true).create(true).open(&self.out).unwrap();
        let (mut journal, entries) = Journal::open(Box::new(self.map.clone()), 1024).unwrap();
        let reported = reported_before(&out, &entries, &mut journal);
        let journal = Arc::new(Mutex::new(journal));
        let (notes, queue) = (Notes::default(), Queue::default());
        let writer = DedupWriter::new(Arc::new(Mutex::new(Box::new(out))), Arc::clone(&journal));
        let out = Queued { record: Vec::new(), notes: notes.clone(), queue: Rc::clone(&queue) };
        let n_late = self.form.n_late;
        let mut thread = Thread { writer, notes: notes.clone(), queue, n_late };
        let mut outputs = Outputs::default();
        if self.form.is_text {
            outputs.add(TextSink::new(out, jiff::tz::TimeZone::UTC, Detail::Brief));
        } else {
            outputs.add(JsonSink::new(out));
        }
        outputs.set_notes(notes);
        let config = PipelineConfig::new(self.recording.host.clone(), outputs);
        let mut pipeline = Pipeline::new(config);
        let (since_ns, until_ns, handed_over) = (0, u64::MAX, Vec::new());
        pipeline.learn(Fact::Resumed { reported, since_ns, until_ns, handed_over }).unwrap();
        self.take_left(&mut pipeline, entries);
        let keep = |pipeline: &Pipeline| journal.lock().unwrap().keep(&pipeline.undelivered());
        let put = |entry: &Entry| journal.lock().unwrap().put(entry).unwrap();
        keep(&pipeline);
        while let Some(frame) = self.recording.frames.get(self.n_consumed.get()) {
            let accounts = match frame {
                Frame::Record(record) => {
                    put(&Entry::Record(record.clone()));
                    self.consume();
                    pipeline.handle_record(record, &mut NoSource).unwrap()
                }
                Frame::Fact(fact) => {
                    self.consume();
                    match fact {
                        Fact::Tick(now_ns) => pipeline.due(*now_ns),
                        Fact::End => pipeline.finish(),
                        fact @ Fact::System { .. } => {
                            put(&Entry::Fact(fact.clone()));
                            pipeline.learn(fact.clone()).unwrap();
                            continue;
                        }
                        _ => continue,
                    }
                }
            };
            pipeline.report(accounts, &mut NoSource).unwrap();
            thread.write();
            keep(&pipeline);
        }
        let left = pipeline.finish();
        pipeline.report(left, &mut NoSource).unwrap();
        keep(&pipeline);
        thread.write_all_but(0);
        keep(&pipeline);
    }

    fn take_left(&self, pipeline: &mut Pipeline, entries: Vec<Entry>) {
        let records = entries.iter().filter_map(|entry| match entry {
            Entry::Record(record) => Some(record),
            _ => None,
        });
        if let (Some(known), Some(Frame::Record(next))) =
            (records.last(), self.recording.frames.get(self.n_consumed.get()))
            && known == next
        {
            self.consume();
        }
        for entry in entries {
            match entry {
                Entry::Record(record) => {
                    let accounts = pipeline.handle_record(&record, &mut NoSource).unwrap();
                    pipeline.report(accounts, &mut NoSource).unwrap();
                }
                Entry::Fact(fact) => pipeline.learn(fact).unwrap(),
                _ => {}
            }
        }
    }

    fn consume(&self) {
        self.n_consumed.update(|n| n + 1);
    }
}

/// Every printed kill: its id, revision and victims, or the text lines that name it.
fn kills(out: &Path, is_text: bool) -> Vec<String> {
    let printed = fs::read_to_string(out).unwrap();
    let mut kills: Vec<String> = if is_text {
        let names = |line: &&str| line.contains("OOM: killed") || line.contains("report   ");
        printed.lines().filter(names).map(str::to_owned).collect()
    } else {
        let reports = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let killed = reports.filter(|report| report["outcome"] == "killed");
        let keys = ["id", "revision", "victims"];
        killed.map(|report| keys.map(|key| report[key].to_string()).join(" ")).collect()
    };
    kills.sort_unstable();
    kills
}

fn world<'a>(recording: &'a Recording, folder: &Path, name: &str, form: Form) -> World<'a> {
    let out = folder.join(name);
    World { recording, map: Map::default(), n_consumed: Cell::new(0), out, form }
}

/// For each recording, lets the tracer die once at one of [`MOMENTS`] moments and continues to the
/// end; then lets it die again and again, after more changes each time.
fn check(form: Form) {
    let is_text = form.is_text;
    let folder = tempfile::tempdir().unwrap();
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire/6.12");
    let mut n_kills = 0;
    for file in fs::read_dir(wire).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "rec") {
            continue;
        }
        let recording = read(&file).unwrap();
        let undisturbed = world(&recording, folder.path(), "undisturbed", form);
        assert!(undisturbed.live(None));
        let expected = kills(&undisturbed.out, is_text);
        n_kills += expected.len();
        fs::remove_file(&undisturbed.out).unwrap();
        let (n_left, n_changes) = undisturbed.map.with(|map| (map.slots.len(), map.n_changes));
        assert_eq!(n_left, 0, "{}: something stays", file.display());

        for moment in 0..MOMENTS.min(n_changes) {
            for after in [false, true] {
                let at = moment * n_changes / MOMENTS.min(n_changes);
                let world = world(&recording, folder.path(), "once", form);
                assert!(!world.live(Some((at, after))));
                assert!(world.live(None));
                let found = kills(&world.out, is_text);
                assert_eq!(found, expected, "{} at {at}, {after}", file.display());
                fs::remove_file(&world.out).unwrap();
            }
        }
        for first in 0..8 {
            let world = world(&recording, folder.path(), "often", form);
            let mut changes = first;
            while !world.live(Some((changes, changes % 2 == 0))) {
                changes += 1;
            }
            let found = kills(&world.out, is_text);
            assert_eq!(found, expected, "{} again and again from {first}", file.display());
            fs::remove_file(&world.out).unwrap();
        }
    }
    assert!(n_kills >= 5, "{n_kills} kills");
}

#[test]
fn kill_is_printed_once_as_json_whenever_tracer_dies() {
    check(Form { is_text: false, n_late: 0 });
}

#[test]
fn kill_is_printed_once_as_text_whenever_tracer_dies() {
    check(Form { is_text: true, n_late: 0 });
}

#[test]
fn kill_is_printed_once_whenever_tracer_dies_with_a_slow_output() {
    for n_late in [1, 3] {
        check(Form { is_text: false, n_late });
    }
}
