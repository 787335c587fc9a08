//! The stored records, and the messages on stderr when records cannot be stored.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tempfile::tempdir;
use tokio::sync::Notify;

use super::{HistoryError, Limits, MAX_QUEUED_BYTES, Queued, StoreConfig, StoreSink, Work, Writer};
use crate::{
    history::{query::Query, scan::History},
    model::report::{LossReason, LossStage, OomReport, Record},
    output::fixtures,
    pipeline::{output_health::OutputHealth, sink::Sink},
};

fn config(path: &Path) -> StoreConfig {
    StoreConfig { path: path.to_owned(), limits: Limits::default(), boot_id: "00".to_owned() }
}

/// Stores records one after another, with `before` before each. Returns the lines for stderr.
fn store_all(path: &Path, records: &[Record], mut before: impl FnMut(usize)) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&lines);
    let health = health(move |text| logged.lock().unwrap().push(text.to_owned()));
    let mut writer = Writer::start(config(path), health.clone()).unwrap();
    for (index, record) in records.iter().enumerate() {
        before(index);
        writer.handle(Queued { record: serde_json::to_vec(record).unwrap(), n_lost: 0 });
    }
    health.end();
    let lines = lines.lock().unwrap();
    lines.clone()
}

fn health(log: impl Fn(&str) + Send + Sync + 'static) -> OutputHealth {
    OutputHealth::new("history", LossStage::Store, Arc::new(log), Arc::new(Notify::new()))
}

fn n_found(path: &Path) -> usize {
    let history = History::open(path).unwrap();
    history.find::<()>(&Query::default(), usize::MAX).found.len()
}

fn records() -> Vec<Record> {
    let mut records: Vec<Record> = fixtures::all().into_iter().map(|(_, record)| record).collect();
    for (index, record) in records.iter_mut().enumerate() {
        if let Record::Oom(report) = record {
            report.id = format!("boot-{index:016x}-1");
        }
    }
    records
}

fn start(path: &Path) -> Result<StoreSink, HistoryError> {
    Writer::start(config(path), health(|_| {})).and_then(StoreSink::start)
}

#[test]
fn closed_records_are_stored_with_their_numbers() {
    let directory = tempdir().unwrap();
    let records = records();
    let mut sink = start(directory.path()).unwrap();
    for record in &records {
        sink.provisional(record).unwrap();
        sink.update(record).unwrap();
    }
    drop(sink);
    let history = History::open(directory.path()).unwrap();
    let found = history.find::<()>(&Query::default(), usize::MAX).found;
    assert_eq!(found.len(), records.len());
    let mut stored = Vec::new();
    history
        .lines(&found, |line| {
            stored.push(serde_json::from_slice::<Record>(line).unwrap());
            Ok::<(), ()>(())
        })
        .unwrap();
    for ((mut record, stored), number) in records.into_iter().zip(stored).zip(1..) {
        *seq(&mut record) = Some(number);
        assert_eq!(stored, record);
    }
}

fn seq(record: &mut Record) -> &mut Option<u64> {
    match record {
        Record::Oom(report) => &mut report.seq,
        Record::Gap(gap) => &mut gap.number.seq,
        Record::Loss(loss) => &mut loss.number.seq,
    }
}

#[test]
fn record_that_found_no_room_in_the_queue_leaves_a_hole() {
    let directory = tempdir().unwrap();
    let mut writer = Writer::start(config(directory.path()), health(|_| {})).unwrap();
    for n_lost in [0, 2, 0] {
        let record = serde_json::to_vec(&records()[0]).unwrap();
        writer.handle(Queued { record, n_lost });
    }
    let history = History::open(directory.path()).unwrap();
    let holes = history.find::<()>(&Query::default(), usize::MAX).holes;
    assert!(holes.message().unwrap().starts_with("2 records are missing (seq 2 to 3)"));
}

#[test]
fn overflow_is_counted_while_the_disk_hangs() {
    let directory = tempdir().unwrap();
    let mut sink = start(directory.path()).unwrap();
    let records = records();
    sink.write(&records[0]).unwrap();
    // As if the thread were writing a record that takes all room.
    while !sink.health.enqueue(MAX_QUEUED_BYTES, MAX_QUEUED_BYTES) {
        std::thread::yield_now();
    }
    sink.write(&records[1]).unwrap();
    sink.write(&records[2]).unwrap();
    sink.health.dequeue(MAX_QUEUED_BYTES);
    sink.write(&records[3]).unwrap();
    let health = sink.health.clone();
    drop(sink);
    let lost = health.take_loss().unwrap();
    assert_eq!((lost.count, lost.reason), (2, LossReason::QueueFull));
    let history = History::open(directory.path()).unwrap();
    let found = history.find::<()>(&Query::default(), usize::MAX);
    assert_eq!(found.found.len(), 2);
    let holes = found.holes.message().unwrap();
    assert!(holes.starts_with("2 records are missing"), "{holes}");
}

#[test]
fn old_segment_is_removed_when_the_age_is_checked() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let store = |config: StoreConfig| {
        let mut writer = Writer::start(config, health(|_| {})).unwrap();
        let record = serde_json::to_vec(&records()[0]).unwrap();
        writer.handle(Queued { record, n_lost: 0 });
        writer
    };
    drop(store(config(path)));
    let old = config(path);
    let hour = Duration::from_hours(1);
    let limited =
        StoreConfig { limits: Limits { max_age: Some(hour), ..old.limits.clone() }, ..old };
    let mut writer = store(limited);
    let names = || fs::read_dir(path).unwrap().count();
    let n_files = names();
    let segments = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let first = segments.filter(|it| it.extension().is_some_and(|it| it == "gz")).min().unwrap();
    let file = fs::File::options().append(true).open(&first).unwrap();
    file.set_modified(SystemTime::now() - 2 * hour).unwrap();
    let check = writer.next_time().unwrap();
    assert!(check > Instant::now() + Duration::from_mins(10), "the clock may be set soon");
    writer.on_time();
    assert!(!first.exists() && names() == n_files - 1);
    assert!(writer.next_time().unwrap() > check);
    let unlimited = Writer::start(config(tempdir().unwrap().path()), health(|_| {})).unwrap();
    assert_eq!(unlimited.next_time(), None, "an idle host is not woken up");
}

/// Each takes more than a page, so none fits into the rest of the previous one's page.
fn large_records() -> Vec<Record> {
    let large = |index| {
        let report = fixtures::memcg_kill();
        let victim = report.victims[0].clone();
        let victims = vec![victim; 4];
        Record::Oom(Box::new(OomReport { id: format!("boot-{index:016x}-1"), victims, ..report }))
    };
    let records: Vec<Record> = (0..10).map(large).collect();
    assert!(serde_json::to_vec(&records[0]).unwrap().len() > 4096);
    records
}

/// Needs root to mount a file system. Without root, the test does nothing.
#[test]
fn full_disk_is_logged_once_and_its_recovery_once() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    if !mount(path, "size=256k,mode=0700") {
        return;
    }
    let records = large_records();
    let ballast = path.join("ballast");
    let logged = store_all(path, &records, |index| match index {
        2 => {
            // Fails once the disk is full, as it should.
            let _ = fs::write(&ballast, vec![0; 256 << 10]);
        }
        7 => fs::remove_file(&ballast).unwrap(),
        _ => {}
    });
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(
        logged[0].contains("No space left on device") || logged[0].contains("no storage space"),
        "{logged:?}"
    );
    assert!(logged[0].contains("new attempt"), "{logged:?}");
    assert!(logged[1].contains("takes records again, 5 records were not written"), "{logged:?}");
    assert_eq!(n_found(path), records.len() - 5);
    let history = History::open(path).unwrap();
    let holes = history.find::<()>(&Query::default(), usize::MAX).holes.message().unwrap();
    assert!(holes.starts_with("5 records are missing (seq 3 to 7)"), "{holes}");
    unmount(path);
}

#[test]
fn read_only_file_system_is_logged_once_and_survived() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    if !mount(path, "size=1m,mode=0700,ro") {
        return;
    }
    let records = records();
    let logged = store_all(path, &records, |_| {});
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(logged[0].contains("Read-only file system"), "{logged:?}");
    assert_eq!(logged[1], format!("history: {} records were not written", records.len()));
    unmount(path);
}

#[test]
fn permanent_error_at_the_start_fails() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(start(&file).is_err());
}

fn mount(path: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    let status = command.args(["-t", "tmpfs", "-o", options, "oomwhy"]).arg(path).status();
    status.is_ok_and(|status| status.success())
}

fn unmount(path: &Path) {
    Command::new("umount").arg("-l").arg(path).status().unwrap();
}
