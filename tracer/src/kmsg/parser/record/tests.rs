use super::{Record, Records};

fn read(lines: &str) -> Vec<Record> {
    let mut records = Records::default();
    lines.lines().filter_map(|line| records.line(line.as_bytes())).collect()
}

fn one(line: &str) -> Record {
    let [record] = read(line).try_into().unwrap();
    record
}

const WORDS: &str = "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL)";

#[test]
fn known_prefixes_are_removed() {
    for prefix in [
        "",
        "6,446,2162402,-;",
        "6,446,2162402,-,caller=T103;",
        "[    2.162402] ",
        "[    2.162402][  T103] ",
        "<4>[    2.162402] ",
        "kern  :warn  : [    2.162402] ",
        "[Tue Nov 25 17:00:00 2025] ",
        "[    2.162402 <    0.000004>] ",
        "[  +0.000004] ",
        "[Nov25 17:00] ",
        "2025-11-25T17:00:00,123456+00:00 ",
        "Nov 25 17:00:00 host kernel: ",
        "Nov  5 17:00:00 host kernel: [    2.162402] ",
        "Nov 25 17:00:00.123456 host kernel: ",
        "Nov 25 17:00:00 kernel: ",
        "2025-11-25T17:00:00+0000 host kernel: ",
        "2025-11-25T17:00:00.123456+01:00 host kernel: [    2.162402] ",
        "2025-11-25T17:00:00Z host kernel: ",
        "Tue 2025-11-25 17:00:00 UTC host kernel: ",
        "1764090000.123456 host kernel: ",
        "[    2.162402] host kernel: ",
        "<6>1 2025-11-25T17:00:00.123456+01:00 host kernel - - - ",
    ] {
        assert_eq!(one(&format!("{prefix}{WORDS}")).text, WORDS, "{prefix}");
    }
}

#[test]
fn rows_and_frames_are_not_prefixes() {
    for line in ["[    115]     0   115      567 sleep", "[  pid  ]   uid", " dump_stack+0x6b/0x83"]
    {
        assert_eq!(one(line).text, line);
        assert_eq!(one(&format!("[    1.000000] {line}")).text, line);
    }
}

#[test]
fn lines_of_other_programs_are_skipped() {
    for line in [
        "Nov 25 17:00:00 host app[12]: Out of memory: Killed process 1 (init) total-vm:1kB",
        "2025-11-25T17:00:00+00:00 host app: Out of memory: Killed process 1 (init) total-vm:1kB",
    ] {
        assert_eq!(read(line), [], "{line}");
    }
}

#[test]
fn time_is_known_if_the_log_has_all_of_it() {
    assert_eq!(one("6,446,2162402,-;x").stamp.log_ns, Some(2_162_402_000));
    assert_eq!(one("[    2.162402] x").stamp.log_ns, Some(2_162_402_000));
    for (line, ns) in [
        ("2025-11-25T18:00:00+0100 host kernel: x", 0),
        ("2025-11-25T17:00:00,5+00:00 x", 500_000_000),
        ("Tue 2025-11-25 17:00:00 UTC host kernel: x", 0),
        ("1764090000.5 host kernel: x", 500_000_000),
    ] {
        let wall = one(line).stamp.wall.map(jiff::Timestamp::as_nanosecond);
        assert_eq!(wall, Some(1_764_090_000_000_000_000 + ns), "{line}");
    }
    for (line, vague) in [
        ("Nov  5 17:00:00 host kernel: x", "Nov  5 17:00:00"),
        ("[Tue Nov 25 17:00:00 2025] x", "Tue Nov 25 17:00:00 2025"),
        ("Tue 2025-11-25 17:00:00 CET host kernel: x", "2025-11-25 17:00:00 CET"),
    ] {
        let stamp = one(line).stamp;
        assert_eq!((stamp.wall, stamp.vague.as_deref()), (None, Some(vague)), "{line}");
    }
}

#[test]
fn host_and_caller_are_kept() {
    assert_eq!(one("Nov 25 17:00:00 box kernel: x").host.as_deref(), Some("box"));
    assert_eq!(one("[    2.162402][   C1] x").caller.as_deref(), Some("C1"));
    assert_eq!(one("6,1,1,-,caller=T9;x").caller.as_deref(), Some("T9"));
}

#[test]
fn escapes_of_dev_kmsg_are_undone_and_dictionary_is_skipped() {
    let records = read("6,1,1,-;a\\x0ab\\x5cx41\\xzz\n SUBSYSTEM=memory\n6,2,1,c;c");
    let texts: Vec<&str> = records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["a\nb\\x41\\xzz", "c"]);
}

#[test]
fn line_without_prefix_continues_the_record_before() {
    let rest: Vec<bool> = read("a\n[    1.000000] b\nc\n[    2.000000] d")
        .iter()
        .map(|record| record.is_rest)
        .collect();
    assert_eq!(rest, [false, false, true, false]);
}
