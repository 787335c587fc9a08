//! The result of a self-test as text.

use std::fmt::Write as _;

use super::{COMM, LIMIT_BYTES, SelfTest, verdict::Verdict};
use crate::fmt::sanitize::sanitize;

pub(crate) fn text(test: &SelfTest) -> String {
    let mut text = String::new();
    let tier = test.tier.as_deref().unwrap_or("an unknown tier");
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{COMM} exceeded the limit of cgroup {} (v{}), {} MiB, while {tier} traced",
        sanitize(test.cgroup.as_bytes()),
        test.cgroup_version,
        LIMIT_BYTES >> 20,
    );
    for finding in &test.findings {
        let mark = match finding.verdict {
            Verdict::Agrees => "ok",
            Verdict::Disagrees => "WRONG",
            Verdict::NotReported => "-",
        };
        let reported =
            finding.reported.as_deref().map_or("not reported".into(), |it| sanitize(it.as_bytes()));
        let done = sanitize(finding.done.as_bytes());
        let what = if reported == done { done } else { format!("{reported} (expected {done})") };
        let _ = writeln!(text, "  {mark:6} {:24} {what}", finding.field);
    }
    let verdict = if test.agrees { "matches" } else { "does not match" };
    let _ = writeln!(
        text,
        "the report {verdict} the test kill; child and cgroup were removed ({} ms)",
        test.took_ms
    );
    text
}
