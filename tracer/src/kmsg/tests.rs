//! Real logs of each kernel, and hostile ones.

mod hostile;
mod old;
mod random;
mod real;
mod shapes;

use super::{Context, Log};
use crate::model::report::OomReport;

/// Real reports of each kernel, and one that was written by hand after the source of 4.19.
const FIXTURES: [(&str, &str); 16] = [
    ("4.19-memcg-v1", include_str!("../../../tests/fixtures/kmsg/4.19-memcg-v1.txt")),
    ("5.10-global", include_str!("../../../tests/fixtures/kmsg/5.10-global.txt")),
    ("5.10-memcg-v2", include_str!("../../../tests/fixtures/kmsg/5.10-memcg-v2.txt")),
    ("5.10-oom-group", include_str!("../../../tests/fixtures/kmsg/5.10-oom-group.txt")),
    ("6.1-global", include_str!("../../../tests/fixtures/kmsg/6.1-global.txt")),
    ("6.1-memcg-v2", include_str!("../../../tests/fixtures/kmsg/6.1-memcg-v2.txt")),
    ("6.1-oom-group", include_str!("../../../tests/fixtures/kmsg/6.1-oom-group.txt")),
    ("6.12-global", include_str!("../../../tests/fixtures/kmsg/6.12-global.txt")),
    ("6.12-memcg-v2", include_str!("../../../tests/fixtures/kmsg/6.12-memcg-v2.txt")),
    ("6.12-oom-group", include_str!("../../../tests/fixtures/kmsg/6.12-oom-group.txt")),
    ("6.18-global", include_str!("../../../tests/fixtures/kmsg/6.18-global.txt")),
    ("6.18-memcg-v2", include_str!("../../../tests/fixtures/kmsg/6.18-memcg-v2.txt")),
    ("6.18-oom-group", include_str!("../../../tests/fixtures/kmsg/6.18-oom-group.txt")),
    ("7.3-global", include_str!("../../../tests/fixtures/kmsg/7.3-global.txt")),
    ("7.3-memcg-v2", include_str!("../../../tests/fixtures/kmsg/7.3-memcg-v2.txt")),
    ("7.3-oom-group", include_str!("../../../tests/fixtures/kmsg/7.3-oom-group.txt")),
];

fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn reports(log: impl AsRef<[u8]>) -> Vec<OomReport> {
    reports_in(&Context::default(), log)
}

fn reports_in(context: &Context, text: impl AsRef<[u8]>) -> Vec<OomReport> {
    let mut log = Log::new(context.clone());
    let mut reports = Vec::new();
    for line in text.as_ref().split(|byte| *byte == b'\n') {
        log.line(line);
        reports.extend(log.done());
    }
    reports.extend(log.finish());
    reports
}

#[track_caller]
fn only(text: impl AsRef<[u8]>) -> OomReport {
    let [report] = reports(text).try_into().unwrap_or_else(|all: Vec<_>| panic!("{all:#?}"));
    report
}

#[track_caller]
fn check_missing(report: &OomReport, field: &str, words: &str) {
    let missing = &report.source.missing;
    let is_named = missing.iter().any(|it| it.field == field && it.why.contains(words));
    assert!(is_named, "{field}: {missing:#?}");
}
