//! What is stored, and what is said when it cannot be.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use tempfile::tempdir;

use super::{Limits, Place, StoreSink, Writer, line};
use crate::{
    history::{query::Query, scan::History},
    model::report::{OomReport, Record},
    output::fixtures,
    pipeline::sink::Sink,
};

fn place(path: &Path) -> Place {
    Place { path: path.to_owned(), limits: Limits::default(), boot_id: "00".to_owned() }
}

/// Takes records one after another with `between` before each; what was said.
fn take(path: &Path, records: &[Record], mut between: impl FnMut(usize)) -> Vec<String> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let says = Arc::clone(&said);
    let talk = Box::new(move |text: &str| says.lock().unwrap().push(text.to_owned()));
    let mut writer = Writer::start(place(path), talk).unwrap();
    for (index, record) in records.iter().enumerate() {
        between(index);
        writer.take(&line(record).unwrap());
    }
    writer.finish();
    let said = said.lock().unwrap();
    said.clone()
}

fn n_found(path: &Path) -> usize {
    let history = History::open(path).unwrap();
    history.find(&Query::default()).unwrap().found.len()
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

#[test]
fn every_closed_record_is_stored_word_for_word() {
    let directory = tempdir().unwrap();
    let records = records();
    let mut sink = StoreSink::start(place(directory.path()), Box::new(|_| {})).unwrap();
    for record in &records {
        sink.provisional(record).unwrap();
        sink.update(record).unwrap();
    }
    drop(sink);
    let history = History::open(directory.path()).unwrap();
    let found = history.find(&Query::default()).unwrap().found;
    assert_eq!(found.len(), records.len());
    let mut stored = Vec::new();
    history
        .lines(&found, |line| {
            stored.push(serde_json::from_slice::<Record>(line).unwrap());
            Ok::<(), ()>(())
        })
        .unwrap();
    assert!(records.iter().all(|record| stored.contains(record)));
}

/// Each of them takes more than a page: none fits behind another in a page that is there.
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

/// Needs root for the file system, and passes without a word where there is none.
#[test]
fn a_full_disk_is_said_once_and_so_is_its_recovery() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    if !mount(path, "size=256k,mode=0700") {
        return;
    }
    let records = large_records();
    let ballast = path.join("ballast");
    let said = take(path, &records, |index| match index {
        2 => {
            // Whatever there is room for.
            let _ = fs::write(&ballast, vec![0; 256 << 10]);
        }
        7 => fs::remove_file(&ballast).unwrap(),
        _ => {}
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("No space left on device") || said[0].contains("no storage space"),
        "{said:?}"
    );
    assert!(said[0].contains("tried again"), "{said:?}");
    assert!(said[1].contains("takes reports again, 5 were not stored"), "{said:?}");
    assert_eq!(n_found(path), records.len() - 5);
    unmount(path);
}

#[test]
fn a_read_only_file_system_is_said_once_and_survived() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    if !mount(path, "size=1m,mode=0700,ro") {
        return;
    }
    let records = records();
    let said = take(path, &records, |_| {});
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("Read-only file system"), "{said:?}");
    assert_eq!(said[1], format!("history: {} reports were not stored", records.len()));
    unmount(path);
}

#[test]
fn what_will_not_pass_is_an_error_at_the_start() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    StoreSink::start(place(&file), Box::new(|_| {})).unwrap_err();
}

fn mount(path: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    let status = command.args(["-t", "tmpfs", "-o", options, "oomwhy"]).arg(path).status();
    status.is_ok_and(|status| status.success())
}

fn unmount(path: &Path) {
    Command::new("umount").arg("-l").arg(path).status().unwrap();
}
