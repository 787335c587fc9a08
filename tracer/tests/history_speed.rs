//! Measures how long a list of many reports takes. Run it with
//! `cargo test --release -p oomwhy --test history_speed -- --ignored --nocapture`.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use oomwhy::testing::{Limits, Moment, Store};
use serde_json::Value;
use tempfile::tempdir;

const N_REPORTS: i64 = 20_000;
const MAX_TIME: Duration = Duration::from_millis(500);
const N_RUNS: usize = 9;

/// Recorded reports of 4 to 8 KiB each.
fn samples() -> Vec<Value> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/wire/6.12");
    let names = ["memcg_v2", "nested_limit", "trigger_is_not_victim", "global"];
    let read = |name| fs::read_to_string(format!("{directory}/{name}.jsonl")).unwrap();
    let texts: Vec<String> = names.into_iter().map(read).collect();
    texts.iter().flat_map(|text| text.lines()).map(|it| serde_json::from_str(it).unwrap()).collect()
}

#[test]
#[ignore = "takes a release build and half a minute"]
fn list_of_20000_reports_takes_at_most_half_a_second() {
    let directory = tempdir().unwrap();
    let samples = samples();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let moment = |wall| Moment { wall, ..Moment::now() };
    let mut store = Store::open(directory.path(), Limits::default(), "00", moment(start)).unwrap();
    let mut bytes = 0;
    for (index, sample) in (0..N_REPORTS).zip(samples.iter().cycle()) {
        let time = start + SignedDuration::from_mins(15 * index);
        let mut report = sample.clone();
        report["id"] = format!("2f0e7d5c-3f5f-4b52-9a50-6f9d1f9a2a11-{index:016x}-7").into();
        report["time"] = time.to_string().into();
        report["victims"][0]["pid"] = index.into();
        let line = report.to_string() + "\n";
        bytes += line.len();
        store.append(line.as_bytes(), moment(time)).unwrap();
    }
    drop(store);
    for arguments in [["list"].as_slice(), &["list", "java"], &["list", "--group"], &["list", "-1"]]
    {
        let list = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_oomwhy"));
            let start = Instant::now();
            command.args(arguments).env("OOMWHY_DIR", directory.path()).output().unwrap();
            start.elapsed()
        };
        let mut times: Vec<Duration> = (0..N_RUNS).map(|_| list()).collect();
        times.sort();
        eprintln!("{arguments:?}: {:?} of {} KiB each", times[N_RUNS / 2], bytes / 20_000 / 1024);
        // The fastest run: other processes use the machine too.
        assert!(times[0] < MAX_TIME, "{arguments:?}: {times:?}");
    }
}
