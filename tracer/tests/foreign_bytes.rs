//! The short form of fuzzing: each reader of foreign bytes reads the kept inputs, and these with
//! some damage.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

#[expect(unreachable_pub, reason = "it is the interface of a crate for the fuzz targets")]
#[path = "../../fuzz/src/readers.rs"]
mod readers;
#[expect(unreachable_pub, reason = "it is the interface of a crate for the fuzz targets")]
#[path = "../../fuzz/src/terminal.rs"]
mod terminal;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use readers::READERS;

/// The time for one input. Half of the limit that `cargo xtask fuzz` has.
const LIMIT: Duration = Duration::from_secs(5);
/// Damaged variants of each input.
const VARIANTS: usize = 24;

fn kept(reader: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/foreign").join(reader)
}

fn inputs(reader: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(kept(reader)).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// The input cut off, and with some bytes changed: the same ones in each run.
fn damaged(input: &[u8], variant: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut random = (variant as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below.max(1) as u64).unwrap()
    };
    if variant.is_multiple_of(3) {
        bytes.truncate(next(input.len()));
    }
    for _ in 0..=variant % 4 {
        let (at, value) = (next(bytes.len()), next(256));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = u8::try_from(value).unwrap();
        }
    }
    bytes
}

fn read_all(name: &str) {
    let (_, read) = READERS.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "{}", kept(name).display());
    for input in &inputs {
        let variants = (0..VARIANTS).map(|variant| damaged(input, variant));
        for bytes in [input.clone(), Vec::new()].into_iter().chain(variants) {
            let start = Instant::now();
            read(&bytes);
            assert!(start.elapsed() < LIMIT, "{name}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn each_folder_of_inputs_has_a_reader() {
    let mut folders: Vec<String> = fs::read_dir(kept(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, READERS.map(|(name, _)| name));
}

#[test]
fn cgroup_path_holds() {
    read_all("cgroup_path");
}

#[test]
fn container_config_holds() {
    read_all("container_config");
}

#[test]
fn explanation_holds() {
    read_all("explanation");
}

#[test]
fn helper_input_holds() {
    read_all("helper_input");
}

#[test]
fn history_segment_holds() {
    read_all("history_segment");
}

#[test]
fn kernel_log_holds() {
    read_all("kernel_log");
}

#[test]
fn recording_holds() {
    read_all("recording");
}

#[test]
fn wire_record_holds() {
    read_all("wire_record");
}
