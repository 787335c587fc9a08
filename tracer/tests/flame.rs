//! `oomwhy flame` on the report of a real kill (tests/fixtures/wire/7.3/grown.rec: a workload that
//! allocates 40 MiB in each of five functions).

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::{io::Read as _, path::PathBuf};

use assert_cmd::Command;
use flate2::read::GzDecoder;

const MIB: u64 = 1 << 20;

fn report() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire/7.3/grown.jsonl")
}

fn flame(file: PathBuf, format: &str) -> Vec<u8> {
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.arg("flame").arg(file).args(["-o", format]).assert();
    assert.success().get_output().stdout.clone()
}

#[test]
fn folded_stack_has_bytes_that_its_function_charged() {
    let folded = String::from_utf8(flame(report(), "folded")).unwrap();
    for function in ["grow_large_block", "grow_in_thread", "grow_stack", "grow_shared"] {
        let of_it = folded.lines().filter(|line| line.contains(&format!("::{function};")));
        let bytes = of_it.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        let bytes: u64 = bytes.sum();
        assert!(bytes.abs_diff(40 * MIB) <= 2 * MIB, "{function}: {bytes}");
    }
}

#[test]
fn the_graph_and_the_profile_name_the_same_functions() {
    let svg = String::from_utf8(flame(report(), "svg")).unwrap();
    let mut pprof = Vec::new();
    GzDecoder::new(flame(report(), "pprof").as_slice()).read_to_end(&mut pprof).unwrap();
    let pprof = String::from_utf8_lossy(&pprof);
    for name in ["grow_shared", "grow_stack", "limit 256 MiB of /kubepods"] {
        assert!(svg.contains(name) && pprof.contains(name), "{name}");
    }
}

/// A reader that is not ours: Go's, which `cargo xtask setup` installs.
#[test]
fn go_tool_pprof_reads_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grown.pb.gz");
    std::fs::write(&file, flame(report(), "pprof")).unwrap();
    let mut go = Command::new("go");
    go.args(["tool", "pprof", "-top", "-cum", "-nodefraction=0", "-unit=bytes"]).arg(&file);
    go.env("PPROF_TMPDIR", folder.path()).env("GOTOOLCHAIN", "local");
    let output = go.output().unwrap_or_else(|error| panic!("go: {error} (cargo xtask setup)"));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("What grew before the OOM kill of hog[106]"), "{table}");
    for function in ["grow_large_block", "grow_in_thread", "grow_stack", "grow_shared"] {
        // flat, its share, the sum of shares, cum, its share, name.
        let row = table.lines().find(|line| line.ends_with(&format!("::{function}"))).unwrap();
        let cum = row.split_whitespace().nth(3).unwrap().strip_suffix('B').unwrap();
        let bytes: u64 = cum.parse().unwrap();
        assert!(bytes.abs_diff(40 * MIB) <= 2 * MIB, "{function}: {bytes}");
    }
}

#[test]
fn report_without_growth_is_refused() {
    let without = report().with_file_name("memcg_v2.jsonl");
    let mut command = Command::cargo_bin("oomwhy").unwrap();
    let assert = command.arg("flame").arg(without).assert().code(1);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("has no report with growth"), "{stderr}");
}
