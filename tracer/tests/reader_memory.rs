//! Files that anybody may have written: what a command needs to read one is bounded. It is measured
//! as the peak of resident memory of a process, by the kernel.
#![expect(
    clippy::unwrap_used,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

use std::{
    fs::{self, File},
    io::{Read as _, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use tempfile::tempdir;

const MIB: usize = 1 << 20;

/// Runs a command to its end. Returns its peak of resident memory in MiB, and stderr.
fn run(arguments: &[&str]) -> (usize, String) {
    let folder = tempdir().unwrap();
    let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
    let mut child = Command::new(env!("CARGO_BIN_EXE_oomwhy"))
        .args(arguments)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let peak_kib = peak_kib(&mut child);
    (peak_kib / 1024, fs::read_to_string(err).unwrap())
}

/// The highest value that was seen. The peak never falls, so only the last milliseconds are missed.
fn peak_kib(child: &mut Child) -> usize {
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = kib.unwrap_or(0).max(peak);
        sleep(Duration::from_millis(2));
    }
    assert!(peak > 0);
    peak
}

/// The name of a segment of a history.
fn segment(directory: &Path, seconds: u32) -> File {
    File::create(directory.join(format!("20261123T0921{seconds:02}.123Z-2f0e7d5c.jsonl.gz")))
        .unwrap()
}

/// Writes lines of junk to compressed segments, 64 MiB in all.
fn junk_history(directory: &Path) {
    let short = b"{\"type\":\"oom\",\"schema\":1}\n".repeat(1 << 14);
    let victims = "{\"pid\":1,\"chosen\":true},".repeat(1 << 16);
    let listed =
        format!("{{\"type\":\"oom\",\"schema\":1,\"victims\":[{victims}{{\"pid\":1}}]}}\n");
    let endless = vec![b'x'; 8 * MIB];
    let parts: [&[u8]; 8] =
        [&short, listed.as_bytes(), &endless, b"\n", &short, b"{", &endless, b"\n"];
    for seconds in 0..3 {
        let mut encoder = GzEncoder::new(segment(directory, seconds), Compression::fast());
        for part in parts {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap();
    }
    let deflated: u64 =
        fs::read_dir(directory).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    assert!(deflated < MIB as u64, "{deflated}");
}

#[test]
fn history_of_junk_takes_little_memory_and_the_skipped_lines_are_counted() {
    let history = tempdir().unwrap();
    junk_history(history.path());
    let directory = history.path().to_str().unwrap();
    for command in [&["list", "-n", "1"][..], &["list"], &["export"]] {
        let (peak_mib, message) = run(&[command, &["--dir", directory]].concat());
        assert!(peak_mib <= 64, "{command:?}: {peak_mib} MiB");
        assert!(message.contains("skipped 6 damaged lines"), "{command:?}: {message}");
    }
}

#[test]
fn report_with_many_items_takes_little_memory() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("bomb.json");
    let name = file.to_str().unwrap();
    let report = |victims: usize, path: &str| {
        let victims = vec![r#"{"pid":1,"chosen":false}"#; victims].join(",");
        let memcg = format!(r#""oom_memcg":{{"path":"{path}"}}"#);
        let rest = r#""id":"a","outcome":"killed","source":{"tier":"fentry"}"#;
        format!(r#"{{"type":"oom","schema":1,{rest},{memcg},"victims":[{victims}]}}"#)
    };
    for (text, words) in [
        (report(200_000, "/a"), "cannot read line 1"),
        (report(80_000, "/a"), ""),
        (report(1, &"/a".repeat(MIB)), ""),
        (report(1, &"/a".repeat(8 * MIB)), "cannot read line 1"),
        (format!(r#"{{"type":"oom","a":[{}1]}}"#, "{},".repeat(MIB)), "cannot read line 1"),
    ] {
        fs::write(&file, text + "\n").unwrap();
        let (peak_mib, message) = run(&["explain", name]);
        assert!(peak_mib <= 96, "{peak_mib} MiB: {words}");
        assert!(message.contains(words), "{message}");
        let (peak_mib, _) = run(&["symbolize", name]);
        assert!(peak_mib <= 96, "{peak_mib} MiB");
    }
}

#[test]
fn recording_of_many_frames_takes_little_memory() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("kills.rec");
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire/7.3/memcg_v2.rec");
    let mut recording = Vec::new();
    File::open(fixture).unwrap().read_to_end(&mut recording).unwrap();
    // Records without content.
    recording.extend([1, 0, 0, 0, 0].repeat(4 * MIB / 5));
    fs::write(&file, recording).unwrap();
    let (peak_mib, message) = run(&["replay", file.to_str().unwrap()]);
    assert!(peak_mib <= 32, "{peak_mib} MiB");
    assert!(message.contains("cannot") || message.contains("understood"), "{message}");
}
