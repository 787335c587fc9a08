//! Kills the tracer at many moments of recordings of real kills, and starts it again: all of its
//! runs together print each kill once. The ring and the map are in memory here; the journal, the
//! pipeline and the output are the real ones.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    rc::Rc,
};

use oomwhy::testing::{
    Account, CurrentNote, DedupWriter, Detail, Entry, Fact, FactSource, Findings, Frame, Journal,
    JsonSink, Outputs, Pipeline, PipelineConfig, Recording, Slot, Slots, TextSink, read,
    reported_before,
};
use serde_json::Value;

/// Number of moments at which the tracer dies once, for each recording.
const MOMENTS: u32 = 40;

/// The panic that ends a run.
struct Death;

/// The pinned map. The tracer dies at one of its changes, just before or just after it.
#[derive(Clone, Default)]
struct Map {
    slots: Rc<RefCell<BTreeMap<u64, Slot>>>,
    /// Number of changes before this run dies; `None` if it does not.
    left: Rc<Cell<Option<u32>>>,
    dies_after: Rc<Cell<bool>>,
    n_changes: Rc<Cell<u32>>,
}

impl Map {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Slot>)) {
        let is_last = self.left.get() == Some(0);
        if is_last && !self.dies_after.get() {
            resume_unwind(Box::new(Death));
        }
        change(&mut self.slots.borrow_mut());
        self.n_changes.update(|n| n + 1);
        self.left.set(self.left.get().map(|left| left.saturating_sub(1)));
        if is_last {
            resume_unwind(Box::new(Death));
        }
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
        Ok(self.slots.borrow().iter().map(|(key, slot)| (*key, *slot)).collect())
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
    is_text: bool,
}

impl World<'_> {
    /// One run of the tracer; returns false if it died.
    fn live(&self, dies: Option<(u32, bool)>) -> bool {
        self.map.left.set(dies.map(|(changes, _)| changes));
        self.map.dies_after.set(dies.is_some_and(|(_, after)| after));
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
        let journal = Rc::new(RefCell::new(journal));
        let note = CurrentNote::default();
        let out = DedupWriter::new(out, Rc::clone(&note), Rc::clone(&journal));
        let mut outputs = Outputs::default();
        if self.is_text {
            outputs.add(TextSink::new(out, jiff::tz::TimeZone::UTC, Detail::Brief));
        } else {
            outputs.add(JsonSink::new(out));
        }
        outputs.set_current_note(note);
        let config = PipelineConfig::new(self.recording.host.clone(), outputs);
        let mut pipeline = Pipeline::new(config);
        let (since_ns, until_ns, handed_over) = (0, u64::MAX, Vec::new());
        pipeline.learn(Fact::Resumed { reported, since_ns, until_ns, handed_over }).unwrap();
        self.take_left(&mut pipeline, entries);
        journal.borrow_mut().keep(&pipeline.unfinished());
        while let Some(frame) = self.recording.frames.get(self.n_consumed.get()) {
            let accounts = match frame {
                Frame::Record(record) => {
                    journal.borrow_mut().put(&Entry::Record(record.clone())).unwrap();
                    self.consume();
                    pipeline.handle_record(record, &mut NoSource).unwrap()
                }
                Frame::Fact(fact) => {
                    self.consume();
                    match fact {
                        Fact::Tick(now_ns) => pipeline.due(*now_ns),
                        Fact::End => pipeline.finish(),
                        fact @ Fact::System { .. } => {
                            journal.borrow_mut().put(&Entry::Fact(fact.clone())).unwrap();
                            pipeline.learn(fact.clone()).unwrap();
                            continue;
                        }
                        _ => continue,
                    }
                }
            };
            pipeline.report(accounts, &mut NoSource).unwrap();
            journal.borrow_mut().keep(&pipeline.unfinished());
        }
        let left = pipeline.finish();
        pipeline.report(left, &mut NoSource).unwrap();
        journal.borrow_mut().keep(&pipeline.unfinished());
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

fn world<'a>(recording: &'a Recording, folder: &Path, name: &str, is_text: bool) -> World<'a> {
    let out = folder.join(name);
    World { recording, map: Map::default(), n_consumed: Cell::new(0), out, is_text }
}

/// For each recording, lets the tracer die once at one of [`MOMENTS`] moments and continues to the
/// end; then lets it die again and again, after more changes each time.
fn check(is_text: bool) {
    let folder = tempfile::tempdir().unwrap();
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire/6.12");
    let mut n_kills = 0;
    for file in fs::read_dir(wire).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "rec") {
            continue;
        }
        let recording = read(&file).unwrap();
        let undisturbed = world(&recording, folder.path(), "undisturbed", is_text);
        assert!(undisturbed.live(None));
        let expected = kills(&undisturbed.out, is_text);
        n_kills += expected.len();
        fs::remove_file(&undisturbed.out).unwrap();
        assert!(undisturbed.map.slots.borrow().is_empty(), "{}: something stays", file.display());

        let n_changes = undisturbed.map.n_changes.get();
        for moment in 0..MOMENTS.min(n_changes) {
            for after in [false, true] {
                let at = moment * n_changes / MOMENTS.min(n_changes);
                let world = world(&recording, folder.path(), "once", is_text);
                assert!(!world.live(Some((at, after))));
                assert!(world.live(None));
                let found = kills(&world.out, is_text);
                assert_eq!(found, expected, "{} at {at}, {after}", file.display());
                fs::remove_file(&world.out).unwrap();
            }
        }
        for first in 0..8 {
            let world = world(&recording, folder.path(), "often", is_text);
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
    check(false);
}

#[test]
fn kill_is_printed_once_as_text_whenever_tracer_dies() {
    check(true);
}
