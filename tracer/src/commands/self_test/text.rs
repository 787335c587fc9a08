//! The result of a self-test as text.

use anstyle::{AnsiColor, Style};

use super::{COMM, LIMIT_BYTES, SelfTest, verdict::Verdict};
use crate::fmt::{page::Page, sanitize::sanitize};

/// Its lines, of `width` columns.
pub(crate) fn text(test: &SelfTest, width: usize) -> String {
    let mut page = Page::new(width);
    let tier = test.tier.as_deref().unwrap_or("an unknown tier");
    let made = format!(
        "made cgroup {} (v{}) limited to {} MiB",
        sanitize(test.cgroup.as_bytes()),
        test.cgroup_version,
        LIMIT_BYTES >> 20,
    );
    let done = [made, format!("let {COMM} exceed it"), format!("traced by {tier}")];
    page.section("", 0).facts(done);
    for finding in &test.findings {
        let (mark, style) = match finding.verdict {
            Verdict::Agrees => ("ok", Style::new()),
            Verdict::Disagrees => ("WRONG", AnsiColor::Red.on_default().bold()),
            Verdict::NotReported => ("-", Style::new()),
        };
        let reported =
            finding.reported.as_deref().map_or("not reported".into(), |it| sanitize(it.as_bytes()));
        let done = sanitize(finding.done.as_bytes());
        let what = if reported == done { done } else { format!("{reported} (was {done})") };
        page.words(&format!("  {mark:6} {:24} ", finding.field), style, &what);
    }
    let verdict =
        if test.agrees { "the report agrees with what was done" } else { "the report is wrong" };
    let end = format!("{verdict}; child and cgroup were removed ({} ms)", test.took_ms);
    page.words("", Style::new().bold(), &end);
    page.finish()
}
