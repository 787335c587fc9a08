//! The parser of kernel logs reads text that anybody may have written to a log, or piped into
//! `oomwhy explain`.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use oomwhy::testing::{Context, Lines, Log, OomReport};

fuzz_target!(|data: &[u8]| {
    let mut lines = Lines::new(data);
    let mut log = Log::new(Context { swap_total_bytes: Some(0), ..Context::default() });
    while let Ok(Some(line)) = lines.next_line() {
        log.line(line);
        check(&log.done(), data);
    }
    check(&log.finish(), data);
});

/// Every victim is named in a line of the log, and every report can be written as JSON.
fn check(reports: &[OomReport], data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let named: BTreeSet<i32> = text
        .split("Killed process ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    for report in reports {
        // The escapes of /dev/kmsg can form these words.
        if !text.contains("\\x") {
            for victim in &report.victims {
                assert!(named.contains(&victim.tid.unwrap_or(victim.pid)), "{victim:?}");
            }
        }
        assert!(serde_json::to_vec(report).is_ok());
    }
}
