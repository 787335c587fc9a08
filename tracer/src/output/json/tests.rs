//! Snapshots of every record, and tests of their common properties.

use serde_json::Value;

use super::JsonSink;
use crate::{
    model::report::{OomReport, Record},
    output::fixtures,
    pipeline::sink::Sink,
};

/// Counts writes: a reader of a pipe must never see half a record.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

impl std::io::Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn line(record: &Record) -> String {
    let mut writes = Writes::default();
    JsonSink::new(&mut writes).write(record).unwrap();
    assert_eq!(writes.0.len(), 1);
    String::from_utf8(writes.0.remove(0)).unwrap()
}

#[test]
fn records_match_their_snapshots() {
    for (name, record) in fixtures::all() {
        let value: Value = serde_json::from_str(&line(&record)).unwrap();
        // The others differ in bulk or in a word only.
        if !["global_kill", "huge", "victim_already_exiting", "cpuset", "sysrq"].contains(&name) {
            insta::assert_json_snapshot!(name, value);
        }
    }
}

#[test]
fn record_is_one_line_and_reads_back_the_same() {
    for (name, record) in fixtures::all() {
        let line = line(&record);
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{name}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record, "{name}");
    }
}

#[test]
fn unknown_values_are_absent_not_null() {
    fn check(value: &Value) {
        match value {
            Value::Null => panic!("null"),
            Value::Array(items) => items.iter().for_each(check),
            Value::Object(items) => items.values().for_each(check),
            _ => {}
        }
    }
    for (_, record) in fixtures::all() {
        check(&serde_json::from_str(&line(&record)).unwrap());
    }
}

#[test]
fn parts_of_each_candidate_add_up_to_its_points() {
    let reports: [OomReport; 3] =
        [fixtures::memcg_kill(), fixtures::global_kill(), fixtures::huge()];
    for candidate in reports.iter().flat_map(|it| &it.candidates).flat_map(|it| &it.list) {
        let sum = [
            candidate.anon_pages,
            candidate.file_pages,
            candidate.shmem_pages,
            candidate.swap_pages,
            candidate.pgtables_pages,
            candidate.adj_pages,
        ];
        let sum: Option<i64> = sum.into_iter().sum();
        let sum = sum.map(|sum| sum + candidate.drift_pages.unwrap_or(0));
        assert_eq!(sum, candidate.points, "{:?}", candidate.comm);
    }
}

#[test]
fn keys_of_a_later_version_are_ignored() {
    let mut value: Value = serde_json::from_str(&line(&fixtures::all()[0].1)).unwrap();
    value["a_new_key"] = Value::from(1);
    value["trigger"]["another"] = Value::from("x");
    assert!(serde_json::from_value::<Record>(value).is_ok());
}
