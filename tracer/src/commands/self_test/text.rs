//! The result of a self-test as text.

use anstyle::{AnsiColor, Style};

use super::{COMM, LIMIT_BYTES, SelfTest, verdict::Verdict};
use crate::fmt::{lines::Lines, page::Page, sanitize::sanitize};

/// Its lines, of `width` columns.
pub(crate) fn text(test: &SelfTest, width: usize) -> Lines {
    let mut page = Page::new(width);
    let tier = test.tier.as_deref().unwrap_or("an unknown tier");
    let made = format!(
        "{COMM} exceeded the limit of cgroup {} (v{}), {} MiB, while {tier} traced",
        sanitize(test.cgroup.as_bytes()),
        test.cgroup_version,
        LIMIT_BYTES >> 20,
    );
    page.words("", Style::new(), &made);
    for finding in &test.findings {
        let (mark, style) = match finding.verdict {
            Verdict::Agrees => ("ok", Style::new()),
            Verdict::Disagrees => ("WRONG", AnsiColor::Red.on_default().bold()),
            Verdict::NotReported => ("-", Style::new()),
        };
        let reported =
            finding.reported.as_deref().map_or("not reported".into(), |it| sanitize(it.as_bytes()));
        let done = sanitize(finding.done.as_bytes());
        let what = if reported == done { done } else { format!("{reported} (expected {done})") };
        page.words(&format!("  {mark:6} {:24} ", finding.field), style, &what);
    }
    let verdict = if test.agrees { "matches" } else { "does not match" };
    let end = format!(
        "the report {verdict} the test kill; child and cgroup were removed ({} ms)",
        test.took_ms
    );
    page.words("", Style::new().bold(), &end);
    page.finish()
}
